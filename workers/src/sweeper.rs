//! The sweeper: turns that wait though no job stands for them any more (the queue was wiped,
//! or was full) get one again. A job too many does no harm: its claim is refused by version.

use std::time::Duration;

use broker::{Broker, Job};
use eventstore::{EventStore, StoreError};
use sqlx::FromRow;
use tokio::time::Instant;
use uuid::Uuid;

use crate::relay::RelayError;

/// How long a turn may wait before it is looked after, and between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Turns looked after at once.
const LIMIT: i64 = 500;

/// Goes over the waiting turns from time to time.
pub(crate) struct Sweeper {
    next: Instant,
    round: u64,
}

#[derive(FromRow)]
struct Waiting {
    tenant_id: String,
    session_id: Uuid,
    turn_id: Uuid,
    pool: String,
}

impl Sweeper {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now() + INTERVAL, round: 0 }
    }

    /// Does its round if it is time.
    pub(crate) async fn sweep(
        &mut self,
        store: &EventStore,
        broker: &Broker,
    ) -> Result<(), RelayError> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + INTERVAL;
        self.round += 1;
        let waiting = waiting(store).await?;
        let round = format!("sweep-{}-{}", std::process::id(), self.round);
        for turn in &waiting {
            let Ok(tenant_id) = turn.tenant_id.parse() else { continue };
            let job = Job {
                tenant_id,
                session_id: domain::SessionId(turn.session_id),
                turn_id: domain::TurnId(turn.turn_id),
            };
            broker.publish_job(&turn.pool, &job, &round).await?;
        }
        if !waiting.is_empty() {
            tracing::info!(turns = waiting.len(), "waiting turns were queued again");
        }
        Ok(())
    }
}

/// By the database's clock, as it recorded the request.
async fn waiting(store: &EventStore) -> Result<Vec<Waiting>, StoreError> {
    sqlx::query_as(
        "SELECT tenant_id, session_id, turn_id, pool FROM turns
         WHERE status = 'queued' AND requested_at < now() - make_interval(secs => $1)
         ORDER BY requested_at LIMIT $2",
    )
    .bind(INTERVAL.as_secs_f64())
    .bind(LIMIT)
    .fetch_all(store.pool())
    .await
    .map_err(|error| StoreError::from_sqlx("look for waiting turns", error))
}
