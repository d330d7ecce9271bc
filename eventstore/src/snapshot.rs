//! Snapshots: folded states, so that a long stream need not be read from its first event.
//!
//! They are never the truth. What a snapshot says is believed only if it is of the shape that
//! is asked for, its hash is right, and the event up to which it goes stands in the log;
//! otherwise the stream is read as if there were none.

use domain::Causes;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::database::Database;
use crate::error::StoreError;

/// An aggregate's state at some version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot<S> {
    /// How many events are folded into it.
    pub version: i64,
    /// The state.
    pub state: S,
}

#[derive(FromRow)]
struct Row {
    version: i64,
    shape: String,
    hash: Vec<u8>,
    state: String,
    /// Whether its last event is in the log.
    in_log: bool,
}

pub(crate) async fn load<S: DeserializeOwned>(
    database: &Database,
    aggregate_type: &str,
    aggregate_id: &str,
    shape: &str,
) -> Result<Option<Snapshot<S>>, StoreError> {
    let found = find(database, aggregate_type, aggregate_id).await?;
    let Some(row) = found else { return Ok(None) };
    if row.shape != shape {
        // It may be of use to a process of another release, so it stays until one replaces it.
        tracing::warn!(
            aggregate_type,
            aggregate_id,
            shape,
            found = row.shape,
            "a snapshot of another shape is ignored"
        );
        return Ok(None);
    }
    match verified(&row, aggregate_type, aggregate_id) {
        Ok(state) => Ok(Some(Snapshot { version: row.version, state })),
        Err(reason) => {
            let version = row.version;
            tracing::warn!(aggregate_type, aggregate_id, version, reason, "a snapshot is dropped");
            if let Err(error) = delete(database, aggregate_type, aggregate_id, &row).await {
                tracing::warn!(error = %Causes(&error), "it could not be deleted");
            }
            Ok(None)
        }
    }
}

/// The state, or why it can't be relied on.
fn verified<S: DeserializeOwned>(
    row: &Row,
    aggregate_type: &str,
    aggregate_id: &str,
) -> Result<S, String> {
    if !row.in_log {
        return Err("its last event is not in the log".to_owned());
    }
    if row.hash != hash(aggregate_type, aggregate_id, row.version, &row.shape, &row.state) {
        return Err("its hash is wrong".to_owned());
    }
    serde_json::from_str(&row.state).map_err(|error| StoreError::reason(&error))
}

async fn find(
    database: &Database,
    aggregate_type: &str,
    aggregate_id: &str,
) -> Result<Option<Row>, StoreError> {
    sqlx::query_as(
        "SELECT version, shape, hash, state::text AS state,
                EXISTS (SELECT FROM events e
                        WHERE e.aggregate_type = s.aggregate_type
                          AND e.aggregate_id = s.aggregate_id
                          AND e.sequence = s.version AND e.event_id = s.event_id) AS in_log
         FROM snapshots s WHERE aggregate_type = $1 AND aggregate_id = $2",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .fetch_optional(database)
    .await
    .map_err(|error| StoreError::from_sqlx("load a snapshot", error))
}

/// Deletes the snapshot that was found, not one that has replaced it since.
async fn delete(
    database: &Database,
    aggregate_type: &str,
    aggregate_id: &str,
    found: &Row,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM snapshots
         WHERE aggregate_type = $1 AND aggregate_id = $2 AND version = $3 AND hash = $4",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(found.version)
    .bind(&found.hash)
    .execute(database)
    .await
    .map(drop)
    .map_err(|error| StoreError::from_sqlx("delete a snapshot", error))
}

pub(crate) async fn save(
    database: &Database,
    aggregate_type: &str,
    aggregate_id: &str,
    (version, shape, state): (i64, &str, &str),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO snapshots (aggregate_type, aggregate_id, version, event_id, shape, hash, state)
         SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.event_id, $4, $5, $6::json
         FROM events e
         WHERE e.aggregate_type = $1 AND e.aggregate_id = $2 AND e.sequence = $3
         ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
         SET version = excluded.version, event_id = excluded.event_id, shape = excluded.shape,
             hash = excluded.hash, state = excluded.state, taken_at = excluded.taken_at
         WHERE excluded.version > snapshots.version OR excluded.shape <> snapshots.shape",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(version)
    .bind(shape)
    .bind(hash(aggregate_type, aggregate_id, version, shape, state))
    .bind(state)
    .execute(database)
    .await
    .map(drop)
    .map_err(|error| StoreError::from_sqlx("save a snapshot", error))
}

/// SHA-256 over all that a snapshot says. Each text goes after its length, so that nothing can
/// move from one to the next.
fn hash(
    aggregate_type: &str,
    aggregate_id: &str,
    version: i64,
    shape: &str,
    state: &str,
) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(version.to_be_bytes());
    for text in [aggregate_type, aggregate_id, shape, state] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().to_vec()
}
