//! One direction of one connection.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::frames::Frames;
use super::traffic::Counters;
use super::{Link, Protocol, Rules};

/// Answers that belong to the beginning of a connection and are never lost: one that can never
/// be made would test nothing.
const GREETINGS: u32 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

pub(super) struct Pump {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    /// What tells messages apart, where they can be.
    frames: Option<Frames>,
    answers: u32,
    counters: Arc<Counters>,
}

impl Pump {
    pub(super) fn new(direction: Direction, link: &Link) -> Self {
        let told_apart = link.protocol == Protocol::Nats && direction == Direction::ToClient;
        Self {
            direction,
            rules: link.rules.clone(),
            frames: told_apart.then(Frames::default),
            answers: 0,
            counters: Arc::clone(&link.counters),
        }
    }

    /// Carries bytes until either end closes, or the rules say so.
    pub(super) async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(rules) = self.open().await {
            let length = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(length) => length,
                },
                changed = self.rules.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            if !rules.delay.is_zero() {
                self.counters.delayed();
                tokio::time::sleep(rules.delay).await;
            }
            // They may have changed meanwhile; what was read waits with the rest.
            let Some(rules) = self.open().await else { return };
            if self.is_lost(rules) {
                self.counters.lost();
                return;
            }
            let passed = self.pass(&buffer[..length], rules);
            if to.write_all(&passed).await.is_err() {
                return;
            }
            self.counters.passed(self.direction, passed.len());
        }
    }

    /// What is sent on of what was received.
    fn pass<'a>(&mut self, received: &'a [u8], rules: Rules) -> Cow<'a, [u8]> {
        let Some(frames) = &mut self.frames else { return Cow::Borrowed(received) };
        let before = frames.doubled();
        let passed = frames.pass(received, rules.doubled);
        self.counters.doubled(frames.doubled() - before);
        Cow::Owned(passed)
    }

    /// Waits until this direction is open; none when the connection is to end.
    async fn open(&mut self) -> Option<Rules> {
        let to_server = self.direction == Direction::ToServer;
        let held = |rules: &Rules| if to_server { rules.deaf } else { rules.mute };
        if held(&self.rules.borrow()) {
            self.counters.held_back();
        }
        let rules = self.rules.wait_for(|rules| rules.cut || !held(rules)).await.ok()?;
        if rules.cut {
            self.counters.refused();
        }
        (!rules.cut).then_some(*rules)
    }

    fn is_lost(&mut self, rules: Rules) -> bool {
        if self.direction == Direction::ToServer {
            return false;
        }
        self.answers += 1;
        rules.lost > 0 && self.answers > GREETINGS && self.answers.is_multiple_of(rules.lost)
    }
}
