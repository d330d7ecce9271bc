//! What a proxy has done to its connections, so that a test can see that a fault was there.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pump::Direction;

/// All of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes that reached the server.
    pub to_server: u64,
    /// Bytes that reached the client.
    pub to_client: u64,
    /// Connections that were closed or refused because all are cut.
    pub refused: u64,
    /// Pieces, and connections, that had to wait because of a silence.
    pub held_back: u64,
    /// Pieces that were late.
    pub delayed: u64,
    /// Answers that were lost.
    pub lost: u64,
    /// Messages that came twice or late.
    pub doubled: u64,
}

impl Traffic {
    /// What has happened since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            to_server: self.to_server - before.to_server,
            to_client: self.to_client - before.to_client,
            refused: self.refused - before.refused,
            held_back: self.held_back - before.held_back,
            delayed: self.delayed - before.delayed,
            lost: self.lost - before.lost,
            doubled: self.doubled - before.doubled,
        }
    }
}

#[derive(Default)]
pub(super) struct Counters {
    to_server: AtomicU64,
    to_client: AtomicU64,
    refused: AtomicU64,
    held_back: AtomicU64,
    delayed: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            to_server: of(&self.to_server),
            to_client: of(&self.to_client),
            refused: of(&self.refused),
            held_back: of(&self.held_back),
            delayed: of(&self.delayed),
            lost: of(&self.lost),
            doubled: of(&self.doubled),
        }
    }

    pub(super) fn passed(&self, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn held_back(&self) {
        self.held_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn doubled(&self, messages: u64) {
        self.doubled.fetch_add(messages, Ordering::Relaxed);
    }
}
