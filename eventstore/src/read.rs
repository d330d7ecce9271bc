//! Reading the log: by position, by stream, and what a command did.

use serde_json::value::RawValue;
use sqlx::FromRow;
use uuid::Uuid;

use crate::database::Database;
use crate::error::StoreError;
use crate::event::{Position, RecordedEvent};

/// Bytes of payloads in a page: it is read in time, and fits into memory. They are counted as the
/// database keeps them, large ones packed, for to know these sizes nothing has to be unpacked.
const PAGE_BYTES: i64 = 8 << 20;

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

pub(crate) async fn head(database: &Database) -> Result<Position, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events")
        .fetch_one(database)
        .await
        .map_err(|error| StoreError::from_sqlx("read the log's head", error))
}

pub(crate) async fn epoch(database: &Database) -> Result<Uuid, StoreError> {
    sqlx::query_scalar("SELECT epoch FROM log_identity")
        .fetch_one(database)
        .await
        .map_err(|error| StoreError::from_sqlx("read the log's identity", error))
}

/// Whether a page of the log or of a stream, read with `limit`, is the last one: neither the
/// limit nor the size of its events has cut it short.
pub fn is_last_page(page: &[RecordedEvent], limit: i64) -> bool {
    // What is kept may be a few bytes an event more than what is read.
    let bytes: usize = page.iter().map(|event| event.payload.get().len()).sum();
    i64::try_from(page.len()).is_ok_and(|count| count < limit)
        && i64::try_from(bytes).is_ok_and(|bytes| bytes < PAGE_BYTES / 2)
}

/// Events after `position`. A page that still takes too long is halved.
pub(crate) async fn read_after(
    database: &Database,
    position: Position,
    mut limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    loop {
        match page_after(database, position, limit).await {
            Err(error) if error.is_timeout() && limit > 1 => limit /= 2,
            page => return page,
        }
    }
}

async fn page_after(
    database: &Database,
    position: Position,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM (SELECT *, sum(pg_column_size(payload)) OVER (
                   ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
               FROM (SELECT * FROM events WHERE position > $1 ORDER BY position LIMIT $2) AS page
              ) AS sized
         WHERE bytes - pg_column_size(payload) < $3 ORDER BY position",
    )
    .bind(position)
    .bind(limit)
    .bind(PAGE_BYTES)
    .fetch_all(database)
    .await
    .map_err(|error| StoreError::from_sqlx("read the log", error))
}

pub(crate) async fn read_stream(
    database: &Database,
    aggregate_type: &str,
    aggregate_id: &str,
    sequence: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM (SELECT *, sum(pg_column_size(payload)) OVER (
                   ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS bytes
               FROM (SELECT * FROM events
                     WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3
                     ORDER BY sequence LIMIT $4) AS page
              ) AS sized
         WHERE bytes - pg_column_size(payload) < $5 ORDER BY sequence",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(sequence)
    .bind(limit)
    .bind(PAGE_BYTES)
    .fetch_all(database)
    .await
    .map_err(|error| StoreError::from_sqlx("read a stream", error))
}

pub(crate) async fn find_command(
    database: &Database,
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
    .fetch_optional(database)
    .await
    .map_err(|error| StoreError::from_sqlx("look a command up", error))
}
