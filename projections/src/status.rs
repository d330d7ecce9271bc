//! Where the projections stand, for operators and tests.

use eventstore::{Database, Position, StoreError};
use sqlx::FromRow;

/// Where a projection stands.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// Its checkpoint.
    pub position: Position,
    /// The newest event of the log.
    pub head: Position,
    /// How many events lie between.
    pub lag: Position,
    /// Events it has parked.
    pub parked: i64,
}

/// A stream that a projection has parked.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct ParkedStream {
    /// The projection.
    pub projection: String,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// The event that could not be taken in.
    pub position: Position,
    /// Its name.
    pub event_type: String,
    /// Why.
    pub error: String,
    /// How many events of the stream are parked by now.
    pub events: i64,
}

/// All projections.
pub async fn list(pool: &Database) -> Result<Vec<ProjectionStatus>, StoreError> {
    sqlx::query_as(
        "SELECT c.name, c.position, h.head, h.head - c.position AS lag,
                (SELECT count(*) FROM parked_events p WHERE p.projection = c.name) AS parked
         FROM checkpoints c, (SELECT coalesce(max(position), 0) AS head FROM events) h
         ORDER BY c.name",
    )
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list the projections", error))
}

/// Up to `limit` parked streams, with what stopped each.
pub async fn parked_streams(pool: &Database, limit: u32) -> Result<Vec<ParkedStream>, StoreError> {
    sqlx::query_as(
        "SELECT DISTINCT ON (projection, aggregate_type, aggregate_id)
                projection, aggregate_type, aggregate_id, position, event_type, error,
                count(*) OVER (PARTITION BY projection, aggregate_type, aggregate_id) AS events
         FROM parked_events
         ORDER BY projection, aggregate_type, aggregate_id, position
         LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list the parked streams", error))
}
