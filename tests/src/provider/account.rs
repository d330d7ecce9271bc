//! The provider's own account: what it was asked, and what it gave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It hasn't.
    Not,
    /// The answer was given to its end.
    Whole,
    /// As its fault says.
    Faulty,
    /// The client went away.
    Abandoned,
}

/// The tokens that the provider said were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt.
    pub prompt: u64,
    /// Of the answer.
    pub completion: u64,
}

/// One request for an answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// From 1, over all calls.
    pub number: u64,
    /// The request's body.
    pub body: Value,
    /// The last message's text.
    pub message: String,
    /// The text that was sent.
    pub text: String,
    /// The tokens that were sent.
    pub tokens: usize,
    /// The usage that was reported, if it was.
    pub usage: Option<Usage>,
    /// How it ended.
    pub ended: Ended,
    /// When it ended.
    pub ended_at: Option<Instant>,
}

impl Call {
    /// Role and text of each message of the prompt.
    pub fn prompt(&self) -> Vec<(String, String)> {
        let messages = self.body["messages"].as_array().cloned().unwrap_or_default();
        let said = |message: &Value| {
            let role = message["role"].as_str().unwrap_or_default().to_owned();
            (role, text_of(&message["content"]))
        };
        messages.iter().map(said).collect()
    }
}

/// The text of a message's content, which is a text or a list of parts.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[derive(Default)]
pub(super) struct Account {
    pub(super) calls: AtomicU64,
    /// Open ones.
    pub(super) connections: AtomicU64,
    recorded: Mutex<Vec<Call>>,
    /// Of the messages whose gates are open.
    opened: Mutex<Vec<String>>,
}

impl Account {
    fn recorded(&self) -> MutexGuard<'_, Vec<Call>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, Vec<String>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the gates of messages that have `marker` in them.
    pub(super) fn open_gate(&self, marker: &str) {
        self.opened().push(marker.to_owned());
    }

    pub(super) fn is_open(&self, message: &str) -> bool {
        self.opened().iter().any(|marker| message.contains(marker))
    }

    /// Counts a call of which no more is kept.
    pub(super) fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the entry of a call; tells its index and how many had the same message before.
    pub(super) fn open(&self, body: Value, message: String) -> (usize, usize) {
        let mut recorded = self.recorded();
        let earlier = recorded.iter().filter(|call| call.message == message).count();
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        recorded.push(Call {
            number,
            body,
            message,
            text: String::new(),
            tokens: 0,
            usage: None,
            ended: Ended::Not,
            ended_at: None,
        });
        (recorded.len() - 1, earlier)
    }

    pub(super) fn change(&self, index: usize, change: impl FnOnce(&mut Call)) {
        change(&mut self.recorded()[index]);
    }

    pub(super) fn number(&self, index: usize) -> u64 {
        self.recorded()[index].number
    }

    pub(super) fn find(&self, marker: &str) -> Vec<Call> {
        let recorded = self.recorded();
        recorded.iter().filter(|call| call.message.contains(marker)).cloned().collect()
    }
}
