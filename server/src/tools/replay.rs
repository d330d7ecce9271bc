//! `colloquy replay`: the log's word on one session.

use domain::SessionId;
use domain::session::{SESSION, Session, SessionEvent};
use eventstore::{EventStore, Position, RecordedEvent};
use serde::Serialize;

use crate::app;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;

const PAGE: i64 = 1000;

#[derive(Serialize)]
struct Replayed {
    session_id: SessionId,
    version: i64,
    state: Session,
    events: Vec<RecordedEvent>,
}

pub(crate) async fn session(
    config: &Config,
    id: SessionId,
    as_of: Option<Position>,
) -> Result<(), ServerError> {
    let store = EventStore::new(app::tool_pool(config)?);
    let as_of = as_of.unwrap_or(Position::MAX);
    let mut replayed =
        Replayed { session_id: id, version: 0, state: Session::default(), events: Vec::new() };
    loop {
        let page = store.read_stream(SESSION, &id.to_string(), replayed.version, PAGE).await?;
        let last = page.last().is_none_or(|event| event.position > as_of);
        for event in page.into_iter().filter(|event| event.position <= as_of) {
            replayed.state.apply(&event.decode::<SessionEvent>()?);
            replayed.version = event.sequence;
            replayed.events.push(event);
        }
        if last {
            break;
        }
    }
    if replayed.version == 0 {
        return Err(ServerError::NoSession(id));
    }
    say(&serde_json::to_string_pretty(&replayed)?);
    Ok(())
}
