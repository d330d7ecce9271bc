//! The log in Postgres: append, load a stream, read in order; and snapshots of long streams.
//!
//! Positions are 1..N without a hole and in commit order, so a reader needs no more than
//! `position > $1 ORDER BY position`. Appends go through one task that batches what is
//! waiting ([`EventStore::append`]); the SQL function that decides and writes a batch is in
//! `migrations/0004_grouped_appends.up.sql`. Payloads are written and read here and nowhere else.

mod append;
mod batch;
mod batcher;
mod database;
mod error;
mod event;
mod load;
mod migrate;
mod pool;
mod read;
mod snapshot;

pub use append::{AppendCommand, CommandRecord, NewEvent, StreamAppend, Verdict};
pub use database::{Database, Lease, within};
pub use error::StoreError;
pub use event::{Position, RecordedEvent};
pub use load::LoadedEvent;
pub use migrate::{Migration, MigrationState, migrate_down, migrate_up, migrations};
pub use pool::{PoolOptions, connect};
pub use read::{StoredCommand, is_last_page};
pub use snapshot::Snapshot;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use uuid::Uuid;

use crate::batcher::Batcher;

/// The event store. Clones share one batcher; the last one dropped ends it.
#[derive(Clone)]
pub struct EventStore {
    database: Database,
    batcher: Arc<Batcher>,
}

impl EventStore {
    /// A store on a migrated database.
    pub fn new(database: impl Into<Database>) -> Self {
        let database = database.into();
        let batcher = Arc::new(Batcher::start(database.clone()));
        Self { database, batcher }
    }

    /// Appends `command`, all of it or nothing. Safe to drop: once handed over, the append
    /// happens whether or not anybody waits for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database could not be reached in time, and nothing
    /// was appended; [`StoreError::InDoubt`] when it may have been. The same command may be sent
    /// again either way.
    pub async fn append(&self, command: AppendCommand) -> Result<Verdict, StoreError> {
        self.batcher.append(command).await
    }

    /// The newest position appended by this process; changes with every append.
    pub fn appended(&self) -> watch::Receiver<Position> {
        self.batcher.appended()
    }

    /// The position of the newest event, 0 in an empty log.
    pub async fn head(&self) -> Result<Position, StoreError> {
        read::head(&self.database).await
    }

    /// The log's identity.
    pub async fn epoch(&self) -> Result<Uuid, StoreError> {
        read::epoch(&self.database).await
    }

    /// Events after `position`, in order: up to `limit`, and fewer where they are large;
    /// [`is_last_page`] tells whether there may be more.
    pub async fn read_after(
        &self,
        position: Position,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        read::read_after(&self.database, position, limit).await
    }

    /// Events of one stream after version `sequence`, in order: up to `limit`, and fewer where
    /// they are large; [`is_last_page`] tells whether there may be more.
    pub async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: i64,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        read::read_stream(&self.database, aggregate_type, aggregate_id, sequence, limit).await
    }

    /// The decoded events of one aggregate after version `sequence`, in order.
    pub async fn load<A: cqrs_es::Aggregate>(
        &self,
        aggregate_id: &str,
        sequence: i64,
    ) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
        load::load::<A>(&self.database, aggregate_id, sequence).await
    }

    /// What a command with this id did, if it was ever accepted.
    pub async fn find_command(
        &self,
        tenant_id: &str,
        user_id: &str,
        command_id: &str,
    ) -> Result<Option<StoredCommand>, StoreError> {
        read::find_command(&self.database, tenant_id, user_id, command_id).await
    }

    /// The newest snapshot of an aggregate, if there is one that can be relied on. One of
    /// another `shape` is left alone; one that is broken, or that the log contradicts, is
    /// deleted. Neither is an error: the log has everything.
    pub async fn load_snapshot<S: DeserializeOwned>(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        shape: &str,
    ) -> Result<Option<Snapshot<S>>, StoreError> {
        snapshot::load(&self.database, aggregate_type, aggregate_id, shape).await
    }

    /// Keeps `state_json`, the fold of an aggregate's events up to `version`, as its snapshot.
    /// `shape` names the JSON's shape; who changes the state or how it is folded changes the
    /// name. An existing one of this shape that is as new stays, and nothing is kept for a
    /// version that isn't in the log.
    pub async fn save_snapshot(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        version: i64,
        shape: &str,
        state_json: &str,
    ) -> Result<(), StoreError> {
        let snapshot = (version, shape, state_json);
        snapshot::save(&self.database, aggregate_type, aggregate_id, snapshot).await
    }

    /// The connections, for what stands beside the log in the same database.
    pub fn pool(&self) -> &Database {
        &self.database
    }

    /// Appends what is waiting, then ends the batcher.
    pub async fn close(&self) {
        self.batcher.close().await;
    }
}
