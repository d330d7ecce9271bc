//! Which of several relays leads: the one whose connection holds an advisory lock.

use std::time::Duration;

use eventstore::{EventStore, Position, StoreError, within};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::own_connection::connect;

const LEADER_LOCK: i64 = 7_245_873_190_468;
const CHECKPOINT: &str = "relay";
/// A leader without a sign of life for so long is taken for frozen.
const FROZEN: Duration = Duration::from_secs(3);
/// Between tries to lead.
const RETRY: Duration = Duration::from_millis(250);
/// A database that doesn't answer within this time is taken for gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lead. It lives as long as its connection, which is nobody else's.
pub(super) struct Leadership {
    connection: PgConnection,
}

impl Leadership {
    /// Waits until this process leads; none if it is told to stop before.
    pub(super) async fn take(
        store: &EventStore,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, StoreError> {
        stop.run_until_cancelled(Self::wait(store)).await.transpose()
    }

    async fn wait(store: &EventStore) -> Result<Self, StoreError> {
        let mut leadership = Self { connection: in_time("lead the relay", connect(store)).await? };
        while !leadership.try_to_lead().await? {
            tokio::time::sleep(RETRY).await;
        }
        Ok(leadership)
    }

    async fn try_to_lead(&mut self) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEADER_LOCK);
        let leads = in_time("lead the relay", query.fetch_one(&mut self.connection)).await?;
        if leads {
            self.sign_of_life(0).await?;
        } else {
            self.end_frozen_leader().await?;
        }
        Ok(leads)
    }

    /// Keeps the checkpoint, says that the leader is alive, and proves that the connection, and
    /// with it the lock, still stands.
    pub(super) async fn sign_of_life(&mut self, position: Position) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO checkpoints (name, position) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET
                 position = greatest(checkpoints.position, excluded.position),
                 moved_at = clock_timestamp()",
        )
        .bind(CHECKPOINT)
        .bind(position);
        in_time("keep the relay's checkpoint", query.execute(&mut self.connection)).await.map(drop)
    }

    /// How far the log was relayed when it was last noted.
    pub(super) async fn checkpoint(&mut self) -> Result<Position, StoreError> {
        let query = sqlx::query_scalar("SELECT position FROM checkpoints WHERE name = $1");
        let query = query.bind(CHECKPOINT).fetch_optional(&mut self.connection);
        Ok(in_time("read the relay's checkpoint", query).await?.unwrap_or(0))
    }

    /// A leader that gives no sign of life (its process is frozen, its host is gone) would keep
    /// the lock as long as its connection seems to stand; so that is ended here. Should it come
    /// back, it finds the connection closed, and the stream's sequence moved on.
    async fn end_frozen_leader(&mut self) -> Result<(), StoreError> {
        let query = sqlx::query_scalar(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND (l.classid::bigint << 32) | l.objid::bigint = $1
               AND EXISTS (SELECT FROM checkpoints c WHERE c.name = $2
                           AND c.moved_at < clock_timestamp() - make_interval(secs => $3))",
        )
        .bind(LEADER_LOCK)
        .bind(CHECKPOINT)
        .bind(FROZEN.as_secs_f64());
        let ended: Vec<bool> =
            in_time("look after the relay's leader", query.fetch_all(&mut self.connection)).await?;
        if !ended.is_empty() {
            tracing::warn!("the relay's leader gave no sign of life; its connection was ended");
        }
        Ok(())
    }

    /// Closing the connection gives the lock back at once.
    pub(super) async fn give_back(self) {
        drop(tokio::time::timeout(PATIENCE, self.connection.close()).await);
    }
}

async fn in_time<T>(
    doing: &'static str,
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    within(PATIENCE, query).await.map_err(|error| StoreError::from_sqlx(doing, error))
}
