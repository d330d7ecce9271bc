//! Workers that are lost with turns in their hands: which turns, and when, so that the time to
//! their takeover can be told.

use std::time::{Duration, Instant};

use crate::faults::World;
use crate::faults::world::WORKERS;
use crate::wait::{eventually, found};

/// The turns that a worker has, by the log.
const HELD: &str = "
    SELECT turn, attempt FROM (
        SELECT DISTINCT ON (turn) turn, attempt, event_type, worker FROM (
            SELECT payload->event_type->>'turn_id' AS turn, event_type, position,
                   (payload->event_type->>'attempt')::bigint AS attempt,
                   payload->event_type->>'worker_id' AS worker
            FROM events WHERE event_type IN (
                'AttemptStarted', 'AttemptAbandoned', 'AttemptReleased',
                'TurnCompleted', 'TurnFailed', 'TurnCancelled')) AS of_turns
        ORDER BY turn, position DESC) AS newest
    WHERE event_type = 'AttemptStarted' AND worker LIKE concat('%-', $1::text, '-%')";
/// For a worker to have something to do.
const BUSY: Duration = Duration::from_secs(60);
/// Turns of a lost worker are in other hands by then, or the test fails; what a watcher may be
/// kept waiting is checked afterwards.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// A worker that was lost.
#[derive(Debug, Clone)]
pub struct Loss {
    /// When.
    pub at: Instant,
    /// The turns that it had, and the number of its attempt at each.
    pub turns: Vec<(String, i64)>,
    /// Who watches one of them is told of its takeover within this.
    pub within: Duration,
}

impl World {
    /// Kills a worker that has turns, and starts it again when others have them.
    pub async fn lose_worker(&mut self, first: usize, within: Duration) {
        let (name, pid) = self.busy_worker(first).await;
        let at = Instant::now();
        self.kill(name);
        self.is_lost(pid, at, within).await;
    }

    /// Freezes a worker that has turns until others have them, and for `time` at the least;
    /// tells which.
    pub async fn suspend_worker(
        &mut self,
        first: usize,
        time: Duration,
        within: Duration,
    ) -> &'static str {
        let (name, pid) = self.busy_worker(first).await;
        let at = Instant::now();
        self.freeze(name).await;
        self.is_lost(pid, at, within).await;
        tokio::time::sleep(time.saturating_sub(at.elapsed())).await;
        name
    }

    /// Notes what the worker of the process `pid` had when it was lost, and waits until it has
    /// nothing any more.
    async fn is_lost(&mut self, pid: u32, at: Instant, within: Duration) {
        let turns = self.held_by(pid).await;
        self.losses.push(Loss { at, turns, within });
        eventually("I9: what a lost worker had is in other hands", TAKEN_OVER, async || {
            self.held_by(pid).await.is_empty()
        })
        .await;
        self.note("taken over");
    }

    /// A worker that is at work, the one with the number `first` if both are; and its process.
    async fn busy_worker(&mut self, first: usize) -> (&'static str, u32) {
        let workers = [WORKERS[first % 2], WORKERS[(first + 1) % 2]];
        let pids = workers.map(|name| self.cluster.node(name).pid());
        found("a worker has turns", BUSY, async || {
            for (name, pid) in workers.into_iter().zip(pids) {
                if !self.held_by(pid).await.is_empty() {
                    return Some((name, pid));
                }
            }
            None
        })
        .await
    }

    async fn held_by(&self, pid: u32) -> Vec<(String, i64)> {
        let held = sqlx::query_as(HELD).bind(pid.to_string());
        held.fetch_all(&self.pool).await.unwrap()
    }
}
