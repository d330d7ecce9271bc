//! I1: whoever reads the log as it grows has read a prefix of what it becomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::faults::world::World;

use super::Log;

const LOOK: Duration = Duration::from_millis(20);

/// Somebody who reads on and on.
pub struct Reader {
    over: Arc<AtomicBool>,
    reading: JoinHandle<Vec<(i64, String)>>,
}

impl Reader {
    /// Begins to read at the log's present end.
    pub fn start(world: &World) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(read(world.pool.clone(), Arc::clone(&over)));
        Self { over, reading }
    }

    /// Fails if it read anything that the log doesn't have at that place now, or skipped any.
    pub async fn saw_a_prefix_of(self, log: &Log) {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.reading.await.unwrap();
        let first = seen.first().map_or(0, |(position, _)| *position);
        for ((position, id), expected) in seen.into_iter().zip(first..) {
            let now = log.at(position).map(|event| event.id.as_str());
            assert_eq!(now, Some(id.as_str()), "I1: position {position} was another event");
            assert_eq!(position, expected, "I1: a reader was shown a hole");
        }
    }
}

async fn read(pool: PgPool, over: Arc<AtomicBool>) -> Vec<(i64, String)> {
    let query = "SELECT position, event_id::text FROM events WHERE position > $1
                 ORDER BY position LIMIT 1000";
    let mut seen: Vec<(i64, String)> = Vec::new();
    let mut from = None;
    while !over.load(Ordering::Relaxed) {
        let Some(after) = from else {
            let head = "SELECT coalesce(max(position), 0) FROM events";
            from = sqlx::query_scalar::<_, i64>(head).fetch_one(&pool).await.ok();
            continue;
        };
        // While the database is away there is nothing to read.
        let page = sqlx::query_as::<_, (i64, String)>(query).bind(after).fetch_all(&pool).await;
        seen.extend(page.unwrap_or_default());
        from = Some(seen.last().map_or(after, |(position, _)| *position));
        tokio::time::sleep(LOOK).await;
    }
    seen
}
