//! Reading the log: by position, by stream, and what a command did.

use serde_json::value::RawValue;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::error::StoreError;
use crate::event::{Position, RecordedEvent};

/// What an accepted command did.
#[derive(Debug, FromRow)]
pub struct StoredCommand {
    /// SHA-256 of its request.
    pub request_hash: Vec<u8>,
    /// What was answered.
    #[sqlx(json)]
    pub outcome: Box<RawValue>,
    /// Its first event's position.
    pub first_position: Position,
    /// Its last event's position.
    pub last_position: Position,
}

pub(crate) async fn head(pool: &PgPool) -> Result<Position, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events")
        .fetch_one(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("read the log's head", error))
}

pub(crate) async fn epoch(pool: &PgPool) -> Result<Uuid, StoreError> {
    sqlx::query_scalar("SELECT epoch FROM log_identity")
        .fetch_one(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("read the log's identity", error))
}

pub(crate) async fn read_after(
    pool: &PgPool,
    position: Position,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM events WHERE position > $1 ORDER BY position LIMIT $2",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("read the log", error))
}

pub(crate) async fn read_stream(
    pool: &PgPool,
    aggregate_type: &str,
    aggregate_id: &str,
    sequence: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3
         ORDER BY sequence LIMIT $4",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(sequence)
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("read a stream", error))
}

pub(crate) async fn find_command(
    pool: &PgPool,
    tenant_id: &str,
    user_id: &str,
    command_id: &str,
) -> Result<Option<StoredCommand>, StoreError> {
    sqlx::query_as(
        "SELECT request_hash, outcome, first_position, last_position
         FROM commands WHERE tenant_id = $1 AND user_id = $2 AND command_id = $3",
    )
    .bind(tenant_id)
    .bind(user_id)
    .bind(command_id)
    .fetch_optional(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("look a command up", error))
}
