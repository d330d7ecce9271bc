//! The three streams: made if missing, and brought to the shape they should have.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::subjects;

pub(crate) const EVENTS: &str = "EVENTS";
pub(crate) const JOBS: &str = "JOBS";
pub(crate) const DELTAS: &str = "DELTAS";

const MINUTE: Duration = Duration::from_secs(60);
const GIB: i64 = 1024 * 1024 * 1024;

impl Broker {
    /// Creates the streams, or updates them; safe to call at any time and from many processes.
    pub async fn ensure_streams(&self) -> Result<(), BrokerError> {
        for config in [events(), jobs(), deltas()] {
            self.jetstream
                .create_or_update_stream(config)
                .await
                .map_err(BrokerError::unavailable("set a stream up"))?;
        }
        Ok(())
    }
}

/// The newest slice of the log, for consumers that come and go. The relay fences each publish
/// by the expected last sequence, which also keeps doubles out.
fn events() -> Config {
    Config {
        name: EVENTS.to_owned(),
        subjects: vec![subjects::ALL_EVENTS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: 24 * 60 * MINUTE,
        max_bytes: 4 * GIB,
        num_replicas: 1,
        allow_direct: true,
        duplicate_window: MINUTE,
        ..Config::default()
    }
}

fn jobs() -> Config {
    Config {
        name: JOBS.to_owned(),
        subjects: vec![subjects::ALL_JOBS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::WorkQueue,
        // A full queue refuses: the turn stays queued in Postgres and is dealt again.
        discard: DiscardPolicy::New,
        max_age: 24 * 60 * MINUTE,
        max_bytes: GIB,
        num_replicas: 1,
        duplicate_window: MINUTE,
        ..Config::default()
    }
}

/// Pieces of answers on their way: worth keeping for those who join late, not worth a disk.
fn deltas() -> Config {
    Config {
        name: DELTAS.to_owned(),
        subjects: vec![subjects::ALL_DELTAS.to_owned()],
        storage: StorageType::Memory,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: 15 * MINUTE,
        max_bytes: GIB / 4,
        max_messages_per_subject: 50_000,
        num_replicas: 1,
        no_ack: true,
        allow_direct: true,
        ..Config::default()
    }
}
