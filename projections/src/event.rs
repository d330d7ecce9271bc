//! An event of the log, decoded once for all projections of a process.

use std::sync::Arc;

use domain::SessionId;
use domain::session::{SESSION, SessionEvent};
use eventstore::{Position, RecordedEvent};

/// A run of events without a hole.
pub(crate) type Batch = Arc<[Event]>;

/// An event as projections see it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) position: Position,
    pub(crate) tenant_id: String,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) name: String,
    pub(crate) body: Body,
}

/// What an event says.
#[derive(Debug)]
pub(crate) enum Body {
    /// It happened to a session.
    Session(SessionId, Box<SessionEvent>),
    /// It is of a kind that no read model is made from.
    Foreign,
    /// It should be a session's, but can't be read; the reason.
    Undecodable(String),
}

impl Event {
    pub(crate) fn decode(recorded: RecordedEvent) -> Self {
        Self {
            body: body(&recorded),
            position: recorded.position,
            tenant_id: recorded.tenant_id,
            aggregate_type: recorded.aggregate_type,
            aggregate_id: recorded.aggregate_id,
            name: recorded.event_type,
        }
    }

    pub(crate) fn decode_all(recorded: Vec<RecordedEvent>) -> Batch {
        recorded.into_iter().map(Self::decode).collect()
    }
}

fn body(recorded: &RecordedEvent) -> Body {
    if recorded.aggregate_type != SESSION {
        return Body::Foreign;
    }
    let Ok(session_id) = recorded.aggregate_id.parse() else {
        return Body::Undecodable("the session's id is not a UUID".to_owned());
    };
    match recorded.decode() {
        Ok(event) => Body::Session(session_id, Box::new(event)),
        Err(error) => Body::Undecodable(error.to_string()),
    }
}
