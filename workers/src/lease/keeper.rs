//! A worker keeps its lease.

use std::time::Duration;

use domain::TurnId;
use eventstore::{EventStore, StoreError, within};
use sqlx::PgConnection;
use tokio::sync::watch;
use uuid::Uuid;

use super::{LEASE, LOCK_CLASS};
use crate::in_work::InWork;
use crate::own_connection;

/// Between two renewals.
const RENEW: Duration = Duration::from_millis(300);
/// Between tries to connect.
const RETRY: Duration = Duration::from_millis(100);
/// How long one renewal may take.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Keeps the lease of the worker that is at `work`, for ever; tells in `stands` whether it does.
pub(crate) async fn keep(store: &EventStore, work: &InWork, stands: &watch::Sender<bool>) {
    let mut troubled = false;
    loop {
        let kept = async {
            let mut connection = in_time(connect(store, work.worker_id())).await?;
            loop {
                in_time(renew(&mut connection, work)).await?;
                stands.send_replace(true);
                if std::mem::take(&mut troubled) {
                    tracing::info!("the worker's lease stands again");
                }
                tokio::time::sleep(RENEW).await;
            }
        };
        let ended: Result<(), StoreError> = kept.await;
        stands.send_replace(false);
        if let Err(error) = ended
            && !troubled
        {
            tracing::warn!(%error, "the worker's lease could not be renewed");
            troubled = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Ends the lease of a worker that is at nothing any more.
pub(crate) async fn end(store: &EventStore, work: &InWork) {
    let delete = sqlx::query("DELETE FROM worker_leases WHERE worker_id = $1")
        .bind(work.worker_id())
        .execute(store.pool());
    // Else it runs out by itself.
    drop(tokio::time::timeout(PATIENCE, delete).await);
}

async fn connect(store: &EventStore, worker_id: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = own_connection::connect(store).await?;
    // Shared, for two names may have the same hash.
    sqlx::query("SELECT pg_advisory_lock_shared($1, hashtext($2))")
        .bind(LOCK_CLASS)
        .bind(worker_id)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Renews the lease, and makes those attempts look into the log that may not hold their turns
/// any more or are to stop: all of them if the lease had run out.
async fn renew(connection: &mut PgConnection, work: &InWork) -> Result<(), sqlx::Error> {
    let turns: Vec<Uuid> = work.turns().into_iter().map(|turn| turn.0).collect();
    let (stood, suspicious): (bool, Vec<Uuid>) = sqlx::query_as(
        "WITH before AS (SELECT expires_at FROM worker_leases WHERE worker_id = $1),
         renewed AS (
             INSERT INTO worker_leases (worker_id, turns, expires_at)
             VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
             ON CONFLICT (worker_id) DO UPDATE
             SET turns = excluded.turns, expires_at = excluded.expires_at
         )
         SELECT coalesce((SELECT expires_at > clock_timestamp() FROM before), false),
                ARRAY(SELECT turn_id FROM turns
                      WHERE turn_id = ANY($2)
                        AND (cancel_requested_at IS NOT NULL OR ended_at IS NOT NULL
                             OR worker_id <> $1))",
    )
    .bind(work.worker_id())
    .bind(&turns)
    .bind(LEASE.as_secs_f64())
    .fetch_one(connection)
    .await?;
    let suspicious = if stood { suspicious } else { turns };
    work.look(suspicious.into_iter().map(TurnId));
    Ok(())
}

async fn in_time<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let renewed = within(PATIENCE, query).await;
    renewed.map_err(|error| StoreError::from_sqlx("renew the worker's lease", error))
}

/// Forgets workers that ended without a word long ago.
pub(crate) async fn forget_lost(store: &EventStore) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM worker_leases WHERE expires_at < clock_timestamp() - interval '1 hour'",
    )
    .execute(store.pool())
    .await
    .map(drop)
    .map_err(|error| StoreError::from_sqlx("forget lost workers", error))
}
