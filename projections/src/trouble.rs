//! Trouble that passes: how long to wait before the next try, and one line in the log when it
//! begins and one when it ends.

use std::error::Error;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The state of something that may fail and is tried again.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: &'static str,
    since: Option<Instant>,
    pause: Duration,
}

impl Trouble {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, since: None, pause: FIRST_PAUSE }
    }

    /// It failed: how long to wait.
    pub(crate) fn failed(&mut self, error: &(dyn Error + 'static)) -> Duration {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(what = self.what, error, "trouble; trying again until it passes");
        }
        let pause = jittered(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// It worked.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            let seconds = since.elapsed().as_secs_f32();
            tracing::info!(what = self.what, seconds, "the trouble is over");
        }
        self.pause = FIRST_PAUSE;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

/// Half to all of `pause`, so that processes which failed together don't return together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
