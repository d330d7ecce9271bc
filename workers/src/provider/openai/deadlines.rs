//! The deadlines of one answer: the first token, each further one, and the whole.
//!
//! Only tokens move them; a server that keeps the connection warm but says nothing is not
//! answering. One timer is armed lazily, since it would otherwise be set anew for each packet.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::provider::ErrorClass;

/// How long to wait for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// From the request to the first token.
    pub first_token: Duration,
    /// From one token to the next.
    pub inter_token: Duration,
    /// For the whole answer.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(60),
            inter_token: Duration::from_secs(30),
            total: Duration::from_secs(600),
        }
    }
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    FirstToken,
    NextToken,
    Total,
}

impl Late {
    pub(super) fn class(self) -> ErrorClass {
        match self {
            Self::FirstToken | Self::NextToken => ErrorClass::Timeout,
            Self::Total => ErrorClass::OutOfTime,
        }
    }
}

/// After the finish only the usage is missing; the answer is not held back long for it.
const TRAILER: Duration = Duration::from_secs(5);

/// The end of the body is read too, if it comes at once: only then can the connection serve
/// the next answer.
const DRAIN: Duration = Duration::from_millis(10);

pub(super) struct Deadlines {
    timeouts: Timeouts,
    total: Instant,
    next: Instant,
    begun: bool,
    timer: Pin<Box<Sleep>>,
}

impl Deadlines {
    /// Deadlines of a request that is made now.
    pub(super) fn start(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        let total = now + timeouts.total;
        let next = now + timeouts.first_token;
        let timer = Box::pin(sleep_until(next.min(total)));
        Self { timeouts, total, next, begun: false, timer }
    }

    /// When to give up, as things stand.
    pub(super) fn next(&self) -> Instant {
        self.next.min(self.total)
    }

    /// Tokens came.
    pub(super) fn token(&mut self) {
        self.begun = true;
        self.next = Instant::now() + self.timeouts.inter_token;
    }

    /// The model is done; only the trailer is awaited.
    pub(super) fn finished(&mut self) {
        self.next = Instant::now() + TRAILER.min(self.timeouts.inter_token);
    }

    /// All is said; only the end of the body is awaited.
    pub(super) fn drain(&mut self) {
        self.next = Instant::now() + DRAIN;
    }

    /// The deadline that has passed, if one has.
    pub(super) fn check(&self) -> Option<Late> {
        let now = Instant::now();
        if now >= self.total {
            Some(Late::Total)
        } else if now < self.next {
            None
        } else if self.begun {
            Some(Late::NextToken)
        } else {
            Some(Late::FirstToken)
        }
    }

    /// Waits for a deadline to pass.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let next = self.next();
            if next < self.timer.deadline() {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match self.check() {
                Some(late) => return Poll::Ready(late),
                None => self.timer.as_mut().reset(next),
            }
        }
    }

    /// What a late provider did not do.
    pub(super) fn describe(&self, late: Late) -> String {
        let (what, limit) = match late {
            Late::FirstToken => ("did not begin to answer", self.timeouts.first_token),
            Late::NextToken => {
                ("stopped in the middle of the answer for", self.timeouts.inter_token)
            }
            Late::Total => ("did not finish the answer", self.timeouts.total),
        };
        let within = if late == Late::NextToken { "" } else { "within " };
        format!("{what} {within}{} s", limit.as_secs_f64())
    }
}
