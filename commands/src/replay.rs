//! A session's events and the state they fold to, as of any position: for audit.

use domain::SessionId;
use domain::session::{SESSION, Session, SessionEvent};
use eventstore::{EventStore, Position, RecordedEvent, StoreError};
use serde::Serialize;

/// Events read at once.
const PAGE: i64 = 1000;

/// What happened to a session, and what it comes to.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The session.
    pub session_id: SessionId,
    /// Events that the state was folded from; 0 if there is no such session.
    pub version: i64,
    /// What they come to.
    pub state: Session,
    /// The events asked for.
    pub events: Vec<RecordedEvent>,
    /// Whether there are more.
    pub has_more: bool,
}

/// Which events to show; the state is folded from all up to `as_of`.
#[derive(Debug, Clone, Copy)]
pub struct ReplayRange {
    /// As if nothing had happened after this position.
    pub as_of: Position,
    /// Only events after this version.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// Replays the session `id`.
pub async fn replay(
    store: &EventStore,
    id: SessionId,
    range: ReplayRange,
) -> Result<Replay, StoreError> {
    let mut replay = Replay {
        session_id: id,
        version: 0,
        state: Session::default(),
        events: Vec::new(),
        has_more: false,
    };
    loop {
        let page = store.read_stream(SESSION, &id.to_string(), replay.version, PAGE).await?;
        // The stream may go on beyond a full page, unless `as_of` lies in it.
        let ends = i64::try_from(page.len()).is_ok_and(|count| count < PAGE)
            || page.last().is_some_and(|event| event.position > range.as_of);
        for event in page.into_iter().filter(|event| event.position <= range.as_of) {
            replay.state.apply(&event.decode::<SessionEvent>()?);
            replay.version = event.sequence;
            if event.sequence <= range.after {
                continue;
            }
            if replay.events.len() < range.limit {
                replay.events.push(event);
            } else {
                replay.has_more = true;
            }
        }
        if ends {
            return Ok(replay);
        }
    }
}
