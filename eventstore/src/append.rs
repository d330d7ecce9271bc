//! What an append carries and what becomes of it.

use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::StoreError;
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
    /// The event, JSON. Shared, for an append may be tried several times.
    pub payload: Arc<str>,
    /// The metadata, JSON; often the same for all events of a command.
    pub metadata: Arc<str>,
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
    /// The ordinal, from 0, of its first event among all events of the append.
    pub first: usize,
    /// The ordinal of its last event.
    pub last: usize,
}

/// Events that go in together: all streams or none.
///
/// Their positions have no hole between them and are in the order in which the streams are
/// listed and the events in them. That is what the ordinals of a [`CommandRecord`] count: a
/// record is remembered with the positions of its own events.
///
/// Usually it is one command's events. Commands that share a stream may also be merged into
/// one; what is refused then is refused for all of them. A single record speaks for the whole
/// append, so one command that has a record is never merged with others that have none.
#[derive(Debug, Clone)]
pub struct AppendCommand {
    /// Whose events they are.
    pub tenant_id: String,
    /// The records of its commands; none for one that isn't to be remembered. No two have the
    /// same caller and id.
    pub records: Vec<CommandRecord>,
    /// The streams it touches, at least one, each once.
    pub streams: Vec<StreamAppend>,
}

impl AppendCommand {
    /// How many events it has.
    pub(crate) fn events(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }

    /// About how many bytes it sends to the database.
    pub(crate) fn bytes(&self) -> usize {
        let events = self.streams.iter().flat_map(|stream| &stream.events);
        let events: usize = events.map(|event| event.payload.len() + event.metadata.len()).sum();
        let outcomes: usize = self.records.iter().map(|record| record.outcome.len()).sum();
        events + outcomes
    }

    /// Its streams and its records' ids: what no other command of its batch may have.
    pub(crate) fn keys(&self) -> Vec<String> {
        let streams = self
            .streams
            .iter()
            .map(|stream| format!("{}/{}", stream.aggregate_type, stream.aggregate_id));
        let records = self.records.iter().map(|record| {
            format!("\0{}\0{}\0{}", self.tenant_id, record.user_id, record.command_id)
        });
        streams.chain(records).collect()
    }

    /// Refuses records of events that aren't there: the database would remember positions of
    /// somebody else's.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let events = self.events();
        let stray =
            self.records.iter().find(|record| record.first > record.last || record.last >= events);
        stray.map_or(Ok(()), |record| {
            let CommandRecord { command_id, first, last, .. } = record;
            Err(StoreError::Malformed(format!(
                "command {command_id} has the events {first} to {last} of {events}"
            )))
        })
    }
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
        /// The position of the first event: the record's, if it is known by its record.
        first: Position,
        /// The position of the last one.
        last: Position,
        /// What was answered the first time. None if it is known not by its record but by its
        /// events: it has no record, or several.
        outcome: Option<Box<RawValue>>,
    },
    /// The id of its only record was used for another request.
    Reused,
    /// A stream has moved on: load and decide again. Of several records one may also be known
    /// already: sent one by one, they learn which.
    Conflict,
}
