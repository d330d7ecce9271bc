//! An event of the log, decoded once for all projections of a process.

use std::str::FromStr;
use std::sync::Arc;

use domain::quota::{QUOTA, QuotaEvent};
use domain::session::{SESSION, SessionEvent};
use domain::{AccountId, SessionId};
use eventstore::{Position, RecordedEvent};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A run of events without a hole.
pub(crate) type Batch = Arc<[Event]>;

/// An event as projections see it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) position: Position,
    pub(crate) id: Uuid,
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
    /// It happened to a user's account.
    Account(AccountId, Box<QuotaEvent>),
    /// It is of a kind that no read model is made from.
    Foreign,
    /// It should be a session's or an account's, but can't be read; the reason.
    Undecodable(String),
}

impl Event {
    pub(crate) fn decode(recorded: RecordedEvent) -> Self {
        Self {
            body: body(&recorded),
            position: recorded.position,
            id: recorded.event_id,
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
    match recorded.aggregate_type.as_str() {
        SESSION => decoded(recorded, Body::Session),
        QUOTA => decoded(recorded, Body::Account),
        _ => Body::Foreign,
    }
}

fn decoded<I: FromStr, E: DeserializeOwned>(
    recorded: &RecordedEvent,
    body: impl Fn(I, Box<E>) -> Body,
) -> Body {
    let Ok(id) = recorded.aggregate_id.parse() else {
        return Body::Undecodable(format!("the {}'s id is not a UUID", recorded.aggregate_type));
    };
    match recorded.decode() {
        Ok(event) => body(id, Box::new(event)),
        Err(error) => Body::Undecodable(error.to_string()),
    }
}
