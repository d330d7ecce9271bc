//! Leases: which worker is alive, and which turns it is at.
//!
//! Each worker process renews one row, by the database's clock, on a connection of its own. That
//! connection holds an advisory lock: when the process dies, the lock is gone at once; when it
//! freezes or is cut off, the lease runs out. Leases are for liveness only. What is safe is
//! decided by the log: a worker whose turn was taken from it can't end the turn any more.

mod keeper;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::{TurnId, WorkerId};
use eventstore::StoreError;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

pub(crate) use keeper::{end, forget_lost, keep};

/// How long a worker may be silent before its turns are taken from it.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Tells the workers' advisory locks from others.
const LOCK_CLASS: i32 = 1_668_246_892;

/// What is known of the worker that holds a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It is at the turn.
    Alive,
    /// It is alive, but doesn't say that it is at the turn.
    Unlisted,
    /// It was alive a moment ago, but its connection is gone.
    Unconnected,
    /// It has no lease.
    Gone,
}

/// The leases that have not run out.
#[derive(Debug, Default)]
pub(crate) struct Leases(HashMap<WorkerId, Lease>);

#[derive(Debug)]
struct Lease {
    turns: HashSet<TurnId>,
    connected: bool,
}

#[derive(FromRow)]
struct LeaseRow {
    worker_id: String,
    turns: Vec<Uuid>,
    connected: bool,
}

impl Leases {
    /// As the database has them now.
    pub(crate) async fn read(pool: &PgPool) -> Result<Self, StoreError> {
        let rows: Vec<LeaseRow> = sqlx::query_as(
            "SELECT worker_id, turns, EXISTS (
                 SELECT FROM pg_locks k
                 WHERE k.locktype = 'advisory' AND k.granted AND k.objsubid = 2
                   AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND k.classid::bigint = $1 AND k.objid::bigint = hashtext(worker_id)::bigint & 4294967295
             ) AS connected
             FROM worker_leases WHERE expires_at > clock_timestamp()",
        )
        .bind(i64::from(LOCK_CLASS))
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("read the workers' leases", error))?;
        let leases = rows.into_iter().filter_map(|row| {
            let lease = Lease {
                turns: row.turns.into_iter().map(TurnId).collect(),
                connected: row.connected,
            };
            Some((row.worker_id.parse().ok()?, lease))
        });
        Ok(Self(leases.collect()))
    }

    /// What is known of `worker`, which holds `turn`.
    pub(crate) fn holder(&self, worker: &WorkerId, turn: TurnId) -> Holder {
        match self.0.get(worker) {
            None => Holder::Gone,
            Some(lease) if !lease.connected => Holder::Unconnected,
            Some(lease) if !lease.turns.contains(&turn) => Holder::Unlisted,
            Some(_) => Holder::Alive,
        }
    }

    /// Leases of workers that are connected, for tests.
    #[cfg(test)]
    pub(crate) fn of(leases: &[(&str, bool, &[TurnId])]) -> Self {
        let lease = |(worker, connected, turns): &(&str, bool, &[TurnId])| {
            let turns = turns.iter().copied().collect();
            (worker.parse().unwrap(), Lease { turns, connected: *connected })
        };
        Self(leases.iter().map(lease).collect())
    }
}
