//! The rows: endpoints with their checkpoints, and deliveries. Each call is one statement, so
//! that it can be broken off anywhere.

use std::time::Duration;

use eventstore::{Database, Position, RecordedEvent, StoreError};
use sqlx::FromRow;
use uuid::Uuid;

use super::schedule::PATIENCE;

/// Longer than any statement may take: a server that is gone answers nothing at all.
const SILENCE: Duration = Duration::from_secs(12);
/// How long deliveries are kept, for people to look at.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A delivery to be written.
#[derive(Debug)]
pub(super) struct NewDelivery {
    pub(super) id: Uuid,
    pub(super) tenant_id: String,
    pub(super) position: Position,
    pub(super) payload: String,
}

/// A delivery to be tried.
#[derive(Debug, FromRow)]
pub(super) struct Due {
    pub(super) delivery_id: Uuid,
    pub(super) payload: String,
    /// Counts the coming try.
    pub(super) attempts: i32,
    age_seconds: f64,
}

impl Due {
    /// How old it is.
    pub(super) fn age(&self) -> Duration {
        Duration::try_from_secs_f64(self.age_seconds).unwrap_or_default()
    }
}

/// The endpoint's checkpoint. A new endpoint begins at the log's head: what was before is no
/// news.
pub(super) async fn checkpoint(pool: &Database, endpoint: &str) -> Result<Position, StoreError> {
    let insert = sqlx::query(
        "INSERT INTO webhook_endpoints (endpoint, position)
         SELECT $1, coalesce(max(position), 0) FROM events ON CONFLICT DO NOTHING",
    )
    .bind(endpoint);
    let read = sqlx::query_scalar("SELECT position FROM webhook_endpoints WHERE endpoint = $1")
        .bind(endpoint);
    within("read a webhook's checkpoint", async {
        if let Some(position) = read.fetch_optional(pool).await? {
            return Ok(position);
        }
        insert.execute(pool).await?;
        sqlx::query_scalar("SELECT position FROM webhook_endpoints WHERE endpoint = $1")
            .bind(endpoint)
            .fetch_one(pool)
            .await
    })
    .await
}

/// The events of these names after `after` and up to `to`, except those that are no news any
/// more.
pub(super) async fn events(
    pool: &Database,
    (after, to): (Position, Position),
    tenant_id: Option<&str>,
    (aggregates, names): (&[&str], &[&str]),
) -> Result<Vec<RecordedEvent>, StoreError> {
    let read = sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM events
         WHERE position > $1 AND position <= $2 AND ($3::text IS NULL OR tenant_id = $3)
           AND (aggregate_type, event_type) IN (SELECT * FROM unnest($4::text[], $5::text[]))
           AND recorded_at > clock_timestamp() - make_interval(secs => $6)
         ORDER BY position",
    )
    .bind(after)
    .bind(to)
    .bind(tenant_id)
    .bind(aggregates)
    .bind(names)
    .bind(PATIENCE.as_secs_f64());
    within("read events for webhooks", read.fetch_all(pool)).await
}

/// The first event of each of these aggregates.
pub(super) async fn first_events(
    pool: &Database,
    aggregate_type: &str,
    aggregates: &[&str],
) -> Result<Vec<RecordedEvent>, StoreError> {
    let read = sqlx::query_as(
        "SELECT position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                event_type, event_version, recorded_at, payload, metadata
         FROM events
         WHERE aggregate_type = $1 AND aggregate_id = ANY($2::text[]) AND sequence = 1",
    )
    .bind(aggregate_type)
    .bind(aggregates);
    within("read accounts' first events for webhooks", read.fetch_all(pool)).await
}

/// Writes the deliveries of the events up to `to`, and moves the checkpoint there, unless
/// another process has moved it.
pub(super) async fn enqueue(
    pool: &Database,
    (endpoint, name): (&str, &str),
    (from, to): (Position, Position),
    deliveries: &[NewDelivery],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = deliveries.iter().map(|one| one.id).collect();
    let tenants: Vec<&str> = deliveries.iter().map(|one| one.tenant_id.as_str()).collect();
    let positions: Vec<Position> = deliveries.iter().map(|one| one.position).collect();
    let payloads: Vec<&str> = deliveries.iter().map(|one| one.payload.as_str()).collect();
    let write = sqlx::query(
        "WITH moved AS (
             UPDATE webhook_endpoints SET position = $4, moved_at = clock_timestamp()
             WHERE endpoint = $1 AND position = $3 RETURNING endpoint
         )
         INSERT INTO webhook_deliveries (delivery_id, endpoint, name, tenant_id, position, payload)
         SELECT new.id, moved.endpoint, $2, new.tenant_id, new.position, new.payload
         FROM moved, unnest($5::uuid[], $6::text[], $7::bigint[], $8::text[])
              AS new (id, tenant_id, position, payload)
         ON CONFLICT DO NOTHING",
    )
    .bind(endpoint)
    .bind(name)
    .bind(from)
    .bind(to)
    .bind(ids)
    .bind(tenants)
    .bind(positions)
    .bind(payloads);
    within("write webhook deliveries", write.execute(pool)).await.map(drop)
}

/// Takes up to `limit` deliveries that are due; for the time of `lease` nobody else does.
pub(super) async fn claim(
    pool: &Database,
    endpoint: &str,
    limit: i64,
    lease: Duration,
) -> Result<Vec<Due>, StoreError> {
    let claim = sqlx::query_as(
        "UPDATE webhook_deliveries
         SET attempts = attempts + 1, next_try_at = clock_timestamp() + make_interval(secs => $3)
         WHERE delivery_id IN (
             SELECT delivery_id FROM webhook_deliveries
             WHERE endpoint = $1 AND next_try_at <= clock_timestamp()
               AND delivered_at IS NULL AND given_up_at IS NULL
             ORDER BY next_try_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         RETURNING delivery_id, payload, attempts,
                   extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds",
    )
    .bind(endpoint)
    .bind(limit)
    .bind(lease.as_secs_f64());
    within("claim webhook deliveries", claim.fetch_all(pool)).await
}

/// The endpoint has it.
pub(super) async fn delivered(pool: &Database, due: &Due) -> Result<(), StoreError> {
    let write = sqlx::query(
        "UPDATE webhook_deliveries
         SET delivered_at = clock_timestamp(), given_up_at = NULL, last_error = NULL
         WHERE delivery_id = $1 AND delivered_at IS NULL",
    )
    .bind(due.delivery_id);
    within("note a webhook delivery", write.execute(pool)).await.map(drop)
}

/// The try failed: it is tried again after `wait`, or never. A later try's word counts more.
pub(super) async fn failed(
    pool: &Database,
    due: &Due,
    wait: Option<Duration>,
    error: &str,
) -> Result<(), StoreError> {
    let write = sqlx::query(
        "UPDATE webhook_deliveries
         SET last_error = $3,
             next_try_at = clock_timestamp() + make_interval(secs => coalesce($4, 0)),
             given_up_at = CASE WHEN $4 IS NULL THEN clock_timestamp() END
         WHERE delivery_id = $1 AND attempts = $2 AND delivered_at IS NULL",
    )
    .bind(due.delivery_id)
    .bind(due.attempts)
    .bind(error)
    .bind(wait.map(|wait| wait.as_secs_f64()));
    within("note a failed webhook delivery", write.execute(pool)).await.map(drop)
}

/// Deletes deliveries that were long ago, whatever became of them.
pub(super) async fn clean_up(pool: &Database) -> Result<(), StoreError> {
    let delete = sqlx::query(
        "DELETE FROM webhook_deliveries
         WHERE created_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(KEPT.as_secs_f64());
    within("delete old webhook deliveries", delete.execute(pool)).await.map(drop)
}

async fn within<T>(
    doing: &'static str,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let result = tokio::time::timeout(SILENCE, call)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
    result.map_err(|error| StoreError::from_sqlx(doing, error))
}
