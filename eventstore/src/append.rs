//! What an append carries and what becomes of it.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::Position;

/// An event to be appended.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its id. It also tells an append that is tried again from another one.
    pub event_id: Uuid,
    /// Its name.
    pub event_type: &'static str,
    /// The version of its shape.
    pub event_version: String,
    /// The event, JSON.
    pub payload: String,
    /// The metadata, JSON.
    pub metadata: String,
}

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct StreamAppend {
    /// The kind of aggregate.
    pub aggregate_type: &'static str,
    /// The aggregate.
    pub aggregate_id: String,
    /// The version the stream must have: how many events it holds.
    pub expected_version: i64,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

/// The record by which a repeated command is known.
#[derive(Debug, Clone)]
pub struct CommandRecord {
    /// The caller.
    pub user_id: String,
    /// The command's id, unique for the caller.
    pub command_id: String,
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// What to answer, JSON.
    pub outcome: String,
}

/// One command's events: all streams or none.
#[derive(Debug, Clone)]
pub struct AppendCommand {
    /// Whose events they are.
    pub tenant_id: String,
    /// Its record, if it is to be remembered.
    pub command: Option<CommandRecord>,
    /// The streams it touches, at least one, each once.
    pub streams: Vec<StreamAppend>,
}

/// What became of an append.
#[derive(Debug)]
pub enum Verdict {
    /// The events are in the log.
    Appended {
        /// The first one's position.
        first: Position,
        /// The last one's position.
        last: Position,
    },
    /// They were there already: this is a repeat.
    Duplicate {
        /// The first one's position.
        first: Position,
        /// The last one's position.
        last: Position,
        /// What was answered the first time; none for a command without a record.
        outcome: Option<Box<RawValue>>,
    },
    /// The command's id was used for another request.
    Reused,
    /// A stream has moved on: load and decide again.
    Conflict,
}
