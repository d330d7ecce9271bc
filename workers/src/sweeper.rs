//! The sweeper: what nobody else comes back to.
//!
//! Turns that wait though no job stands for them any more (the queue was wiped,
//! or was full) get one again. A job too many is refused by version; still, nothing is done
//! while there are as many jobs as turns: then they wait because the workers are busy.
//!
//! What quota has to be looked after stands in `holds`.

pub(crate) mod holds;

use std::time::Duration;

use broker::{Broker, Job};
use commands::CommandBus;
use domain::Causes;
use eventstore::EventStore;
use tokio::time::Instant;

use crate::relay::RelayError;

/// How long a turn may wait before it is looked after, and between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Turns looked after at once.
const LIMIT: u32 = 500;

/// Goes over the waiting turns from time to time.
pub(crate) struct Sweeper {
    bus: CommandBus,
    next: Instant,
    /// Tells this process' rounds from another one's.
    id: u64,
    round: u64,
}

impl Sweeper {
    pub(crate) fn new(bus: CommandBus) -> Self {
        Self { bus, next: Instant::now() + INTERVAL, id: rand::random(), round: 0 }
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
        // As many jobs as turns: they wait because the workers are busy.
        let jobs = broker.standing_jobs().await?;
        let unfinished = projections::unfinished_turns(store.pool()).await?;
        if u64::try_from(unfinished).unwrap_or(0) <= jobs {
            return Ok(());
        }
        let waiting =
            projections::queued_turns(store.pool(), self.bus.clock().now() - INTERVAL, LIMIT)
                .await?;
        let round = format!("sweep-{:x}-{}", self.id, self.round);
        for turn in &waiting {
            let job = Job {
                tenant_id: turn.tenant_id.clone(),
                session_id: turn.session_id,
                turn_id: turn.turn_id,
            };
            if let Err(error) = broker.publish_job(&turn.pool, &job, &round).await {
                tracing::warn!(error = %Causes(&error), "a waiting turn could not be queued");
                return Ok(());
            }
        }
        if !waiting.is_empty() {
            tracing::info!(turns = waiting.len(), "waiting turns were queued again");
        }
        Ok(())
    }
}
