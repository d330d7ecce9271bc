//! What the log says about a turn, as far as the dispatcher is concerned.

use std::collections::HashMap;

use broker::Job;
use domain::session::{ATTEMPT_AT_WORK, SESSION, SessionEvent};
use domain::{TurnId, WorkerId};
use eventstore::RecordedEvent;
use serde::Deserialize;

/// One event of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TurnEvent {
    /// It was accepted, and waits in `pool`.
    Requested { job: Job, pool: String },
    /// A worker holds it.
    Started { turn_id: TurnId, attempt: u32, worker_id: WorkerId },
    /// It waits again: its worker had to stop.
    Released(TurnId),
    /// It waits again: the attempt came to nothing.
    Abandoned(TurnId),
    /// It has ended.
    Ended(TurnId),
    /// It was ended without its attempt, which has yet to tell what it used.
    EndedUntold(TurnId),
}

/// Of an event that may carry a long answer, no more than this is read.
#[derive(Deserialize)]
struct OfTurn {
    turn_id: TurnId,
    #[serde(default)]
    completion: Option<OfCompletion>,
}

#[derive(Deserialize)]
struct OfCompletion {
    #[serde(default)]
    stopped_by: Option<String>,
}

impl TurnEvent {
    /// What `event` says; none if it is about something else. Of one that can't be read
    /// nothing follows: the projections park it, and its session is stuck until it is mended.
    pub(super) fn of(event: &RecordedEvent) -> Option<Self> {
        if event.aggregate_type != SESSION {
            return None;
        }
        let found = match event.event_type.as_str() {
            "TurnRequested" => requested(event),
            "AttemptStarted" => started(event),
            "AttemptReleased" => of_turn(event).map(|of| Self::Released(of.turn_id)),
            "AttemptAbandoned" => of_turn(event).map(|of| Self::Abandoned(of.turn_id)),
            "TurnCompleted" | "TurnFailed" => of_turn(event).map(|of| Self::Ended(of.turn_id)),
            "TurnCancelled" => of_turn(event).map(cancelled),
            _ => return None,
        };
        if found.is_none() {
            tracing::error!(position = event.position, "an event of a turn can't be read");
        }
        found
    }
}

fn requested(event: &RecordedEvent) -> Option<TurnEvent> {
    let (tenant_id, session_id) = (event.tenant_id.parse().ok()?, event.aggregate_id.parse().ok()?);
    match event.decode().ok()? {
        SessionEvent::TurnRequested { turn_id, pool, .. } => {
            let job = Job { tenant_id, session_id, turn_id, lost: None };
            Some(TurnEvent::Requested { job, pool })
        }
        _ => None,
    }
}

fn started(event: &RecordedEvent) -> Option<TurnEvent> {
    match event.decode().ok()? {
        SessionEvent::AttemptStarted { turn_id, attempt, worker_id, .. } => {
            Some(TurnEvent::Started { turn_id, attempt, worker_id })
        }
        _ => None,
    }
}

fn cancelled(of: OfTurn) -> TurnEvent {
    let untold = of
        .completion
        .is_none_or(|completion| completion.stopped_by.as_deref() == Some(ATTEMPT_AT_WORK));
    if untold { TurnEvent::EndedUntold(of.turn_id) } else { TurnEvent::Ended(of.turn_id) }
}

fn of_turn(event: &RecordedEvent) -> Option<OfTurn> {
    let mut tagged: HashMap<String, OfTurn> = event.decode().ok()?;
    tagged.remove(&event.event_type)
}
