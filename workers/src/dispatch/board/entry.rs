//! One turn on the board, and how long it waits for what.

use std::time::Duration;

use broker::Job;
use domain::WorkerId;
use tokio::time::Instant;

use crate::lease::Holder;

/// A job that nobody took within this time may be lost; doubled each time.
pub(super) const OVERDUE: Duration = Duration::from_secs(2);
pub(super) const OVERDUE_AT_MOST: Duration = Duration::from_secs(8);
/// How long a live worker may be silent about a turn that it took.
pub(super) const UNLISTED: Duration = Duration::from_secs(3);
/// How long a worker may be without its connection.
pub(super) const UNCONNECTED: Duration = Duration::from_millis(600);
/// So many attempts may fail before there is a pause; it doubles.
pub(super) const AT_ONCE: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_millis(100);
pub(super) const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

/// A turn that has not ended.
pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) pool: String,
    /// Attempts so far.
    pub(super) attempt: u32,
    /// Who made the last one, while it may be at it.
    pub(super) worker_id: Option<WorkerId>,
    /// Whether it goes ahead of those that have not begun.
    pub(super) urgent: bool,
    /// Jobs dealt since the last attempt.
    pub(super) deals: u32,
    /// It has ended; only its attempt is still to tell what it used. Should that be lost, one
    /// more job lets somebody settle it.
    pub(super) ended: bool,
    pub(super) state: State,
}

/// Where a turn is.
pub(super) enum State {
    /// In its pool's queue.
    Waiting,
    /// Until it goes into the queue.
    Paused { until: Instant },
    /// A job stands for it.
    Dealt { since: Instant, counts: bool },
    /// A worker holds it. Whether it is alive may be in doubt: in what way, and since when.
    Running { doubt: Option<(Holder, Instant)> },
}

impl Entry {
    /// Whether nobody has taken its job for long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let doubled = OVERDUE * 2_u32.saturating_pow(self.deals.saturating_sub(1).min(5));
        matches!(self.state, State::Dealt { since, .. } if now - since >= doubled.min(OVERDUE_AT_MOST))
    }
}

/// How long a worker is waited for; for ever if it is alive.
pub(super) fn patience(holder: Holder) -> Option<Duration> {
    match holder {
        Holder::Alive => None,
        Holder::Unlisted => Some(UNLISTED),
        Holder::Unconnected => Some(UNCONNECTED),
        Holder::Gone => Some(Duration::ZERO),
    }
}

/// Turns that fail again and again don't keep workers and providers busy.
pub(super) fn pause_after(attempt: u32) -> Duration {
    match attempt.checked_sub(AT_ONCE) {
        None | Some(0) => Duration::ZERO,
        Some(more) => (PAUSE * 2_u32.saturating_pow(more.min(10))).min(PAUSE_AT_MOST),
    }
}
