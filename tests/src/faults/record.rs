//! The suite's own record: what users were told, and what they saw. What the installation must
//! be held to stands here and not in its own tables.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::Turn;

/// A message that was accepted, under a key.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The idempotency key, if there was one.
    pub key: Option<String>,
    /// Whose.
    pub tenant: String,
    /// Whose.
    pub user: String,
    /// The message's text, which is like no other's.
    pub text: String,
    /// What the answer said.
    pub turn: Turn,
}

/// A request other than for a turn that was accepted: its key, and where it stands in the log.
#[derive(Debug, Clone)]
pub struct Done {
    /// The idempotency key.
    pub key: String,
    /// Whose.
    pub tenant: String,
    /// The position that was answered, if anything was written.
    pub position: Option<i64>,
}

/// A request that was refused for good.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The idempotency key.
    pub key: String,
    /// Whose.
    pub tenant: String,
    /// The answer.
    pub status: u16,
}

/// What somebody saw of a turn, to its end.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Which turn.
    pub turn: String,
    /// The text that the deltas made.
    pub text: String,
    /// The name of the last event.
    pub end: String,
    /// The text that the last event told, if it told one.
    pub told: Option<String>,
    /// Over how many connections.
    pub connections: usize,
    /// When the turn was begun anew before their eyes, and by which attempt.
    pub restarts: Vec<(Instant, i64)>,
}

/// An answer of Chat Completions that came whole.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Its turn.
    pub turn: String,
    /// Its text.
    pub text: String,
}

/// Everything so far.
#[derive(Debug, Default)]
pub struct Entries {
    /// Turns that were accepted.
    pub accepted: Vec<Accepted>,
    /// Other requests that were.
    pub done: Vec<Done>,
    /// Those that were not.
    pub refused: Vec<Refused>,
    /// Turns that were seen to their end.
    pub watched: Vec<Watched>,
    /// The texts of all messages that were sent under a key, with whatever outcome.
    pub keyed: Vec<String>,
    /// Whole answers.
    pub completions: Vec<Completion>,
    /// What must never happen and did, each with the invariant that it breaks.
    pub wrong: Vec<String>,
    /// Requests whose outcome stayed open at first, and that were sent again.
    pub repeats: usize,
}

/// A record that many write into.
#[derive(Debug, Default)]
pub struct Record {
    entries: Mutex<Entries>,
}

impl Record {
    /// Its entries.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what it has so far.
    pub fn take(&self) -> Entries {
        std::mem::take(&mut self.entries())
    }

    /// Notes what must never happen: it breaks `invariant`.
    pub fn wrong(&self, invariant: &str, what: impl std::fmt::Display) {
        self.entries().wrong.push(format!("{invariant}: {what}"));
    }
}
