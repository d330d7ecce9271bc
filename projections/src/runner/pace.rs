//! How fast to go: batches grow with the load, and rivals keep out of each other's way.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::trouble::jittered;

/// For each event of the last batch the next one gathers so long …
const GATHER_FOR_EACH: Duration = Duration::from_millis(2);
/// … but no longer than this.
const GATHER_AT_MOST: Duration = Duration::from_millis(50);

/// Spaces batches: the more the last one held, the longer the next gathers, counted from the
/// last one's beginning. An event after a silence does not wait.
#[derive(Debug)]
pub(super) struct Pace {
    next_at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next_at: Instant::now() }
    }
}

impl Pace {
    /// Until the next batch may begin.
    pub(super) async fn wait(&self) {
        sleep_until(self.next_at).await;
    }

    /// A batch of so many events begins.
    pub(super) fn begin(&mut self, events: usize) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.next_at = Instant::now() + GATHER_FOR_EACH.saturating_mul(events).min(GATHER_AT_MOST);
    }
}

const FIRST_YIELD: Duration = Duration::from_millis(100);
const LONGEST_YIELD: Duration = Duration::from_secs(1);

/// Another process that runs the same projection: the one that loses keeps back for a while,
/// longer each time, so that a batch is not folded twice all the time. It looks in often
/// enough to take over when the other is gone.
#[derive(Debug)]
pub(super) struct Rivalry {
    pause: Duration,
}

impl Default for Rivalry {
    fn default() -> Self {
        Self { pause: FIRST_YIELD }
    }
}

impl Rivalry {
    /// The checkpoint was moved by us.
    pub(super) fn won(&mut self) {
        self.pause = FIRST_YIELD;
    }

    /// It was moved by another: how long to keep back.
    pub(super) fn lost(&mut self) -> Duration {
        let pause = jittered(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_YIELD);
        pause
    }
}
