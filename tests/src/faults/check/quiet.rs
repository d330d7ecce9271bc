//! I9: when the last fault has ended, everything gets going again, and comes to rest.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::faults::world::{APIS, World};

use super::published;

/// Nothing may lag or be stuck for longer.
pub const RECOVERY: Duration = Duration::from_secs(10);

const LOOK: Duration = Duration::from_millis(50);

const OPEN: &str = "
    SELECT count(*) FILTER (WHERE event_type = 'TurnRequested')
         - count(*) FILTER (WHERE event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled'))
    FROM events";
const LAGGING: &str = "
    SELECT string_agg(name || ' at ' || position, ', ') FROM checkpoints
    WHERE position < (SELECT coalesce(max(position), 0) FROM events)";
const RUNNING: &str = "SELECT count(*) FROM turns WHERE ended_at IS NULL";
const HELD: &str = "
    SELECT count(*) FROM accounts
    WHERE (state->'held'->>'tokens')::bigint <> 0 OR (state->'held'->>'credits')::numeric <> 0";
const SLOWEST: &str = "
    SELECT concat(turn, ':', string_agg(
        concat(' ', round(extract(epoch FROM recorded_at - $2), 2), ' ', event_type),
        ',' ORDER BY position))
    FROM (SELECT payload->event_type->>'turn_id' AS turn, event_type, position, recorded_at
          FROM events WHERE aggregate_type = 'session' AND position > $1) AS of_turns
    WHERE turn IS NOT NULL GROUP BY turn ORDER BY max(recorded_at) - min(recorded_at) DESC LIMIT 3";
const HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";

/// Waits until nothing is open, lags or is held; tells how long it took since `healed`. Fails
/// with what is left if that is more than `patience`.
pub async fn until_quiet(world: &mut World, healed: Instant, patience: Duration) -> Duration {
    let mut context = published::jetstream(world).await;
    loop {
        let left = match what_is_left(&world.pool).await {
            Ok(None) => match &context {
                Some(context) => what_nats_lacks(context, &world.pool).await,
                None => Some("NATS takes no connections".to_owned()),
            },
            Ok(left) => left,
            Err(error) => Some(format!("the database does not answer: {error}")),
        };
        let Some(left) = left else { break };
        assert!(healed.elapsed() < patience, "I9: after {:?} still: {left}", healed.elapsed());
        if context.is_none() {
            context = published::jetstream(world).await;
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = healed.elapsed();
    for name in world.cluster.names() {
        assert!(world.cluster.node(&name).is_running(), "I9: {name} has ended by itself");
    }
    for name in APIS {
        world.cluster.node(name).ready().await;
    }
    took
}

/// A time and the log's end at that time.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Beginning {
    head: i64,
    at: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc>,
}

impl Beginning {
    /// Now.
    pub async fn of(pool: &PgPool) -> Self {
        let now = "SELECT coalesce(max(position), 0) AS head, clock_timestamp() AS at FROM events";
        sqlx::query_as(now).fetch_one(pool).await.unwrap()
    }

    /// The turns since then that took longest, with what happened to each and when.
    pub async fn slowest_turns(self, pool: &PgPool) -> String {
        let slowest = sqlx::query_scalar(SLOWEST).bind(self.head).bind(self.at);
        let turns: Vec<String> = slowest.fetch_all(pool).await.unwrap();
        turns.join("\n")
    }
}

async fn what_is_left(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    let number = async |query: &str| sqlx::query_scalar::<_, i64>(query).fetch_one(pool).await;
    let open = number(OPEN).await?;
    if open != 0 {
        return Ok(Some(format!("{open} turns without an end: {}", open_turns(pool).await?)));
    }
    let lagging: Option<String> = sqlx::query_scalar(LAGGING).fetch_one(pool).await?;
    if lagging.is_some() {
        return Ok(lagging);
    }
    for (what, query) in [("turns that run", RUNNING), ("accounts that hold", HELD)] {
        let count = number(query).await?;
        if count != 0 {
            return Ok(Some(format!("{count} {what}, by the read models")));
        }
    }
    Ok(None)
}

/// Some of the turns that have no end, with their last event.
async fn open_turns(pool: &PgPool) -> Result<String, sqlx::Error> {
    let query = "
        SELECT concat(turn, ' ', array_agg(event_type || '@' || position ORDER BY position)) FROM (
            SELECT payload->event_type->>'turn_id' AS turn, event_type, position FROM events
            WHERE aggregate_type = 'session') AS of_turns
        WHERE turn IS NOT NULL GROUP BY turn
        HAVING NOT bool_or(event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled'))
        LIMIT 5";
    let turns: Vec<String> = sqlx::query_scalar(query).fetch_all(pool).await?;
    Ok(turns.join("; "))
}

async fn what_nats_lacks(
    context: &async_nats::jetstream::Context,
    pool: &PgPool,
) -> Option<String> {
    let head: i64 = sqlx::query_scalar(HEAD).fetch_one(pool).await.ok()?;
    match published::state(context).await {
        None => Some("NATS does not tell what it holds".to_owned()),
        Some((position, _)) if position != head => Some(format!("NATS is at {position} of {head}")),
        Some((_, jobs)) if jobs > 0 => Some(format!("{jobs} jobs in NATS")),
        Some(_) => None,
    }
}
