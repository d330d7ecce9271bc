//! An event as the log holds it.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::FromRow;
use uuid::Uuid;

use crate::error::StoreError;

/// A place in the whole log, from 1 without a hole.
pub type Position = i64;

/// One event, with its payload still as the bytes that were written.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub struct RecordedEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its id.
    pub event_id: Uuid,
    /// Whose it is.
    pub tenant_id: String,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// Its place in the aggregate's stream, from 1 without a hole.
    pub sequence: i64,
    /// Its name.
    pub event_type: String,
    /// The version of its shape.
    pub event_version: String,
    /// When the database took it.
    pub recorded_at: DateTime<Utc>,
    /// The event: `{"<event type>": {…}}`.
    #[sqlx(json)]
    pub payload: Box<RawValue>,
    /// Command, correlation and causation ids, actor.
    #[sqlx(json)]
    pub metadata: Box<RawValue>,
}

impl RecordedEvent {
    /// The payload as a domain event.
    ///
    /// # Errors
    /// [`StoreError::Undecodable`] names the event.
    pub fn decode<E: DeserializeOwned>(&self) -> Result<E, StoreError> {
        serde_json::from_str(self.payload.get()).map_err(|error| StoreError::Undecodable {
            event: format!("{} {}", self.event_type, self.event_version),
            stream: format!("{}/{}", self.aggregate_type, self.aggregate_id),
            sequence: self.sequence,
            reason: StoreError::reason(&error),
        })
    }
}
