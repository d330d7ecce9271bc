//! The rules of attempts: a turn is held by one of them, and ended exactly once.

use chrono::TimeDelta;

use crate::completion::{Completion, FinishReason, Timing, Usage};
use crate::content::{Message, Role};
use crate::cuts::Cuts;
use crate::ids::{TurnId, WorkerId};
use crate::session::command::LostAttempt;
use crate::session::decide::Context;
use crate::session::decide_turn::find;
use crate::session::event::{SessionEvent, TurnError, WORKER_LOST};
use crate::session::rejection::Rejection;
use crate::session::state::{Session, Turn, TurnStatus};

/// In `stopped_by`: the turn was ended while an attempt was at it, which tells the account by
/// itself what it used.
pub const ATTEMPT_AT_WORK: &str = "attempt_at_work";

/// How often a turn is tried. An attempt that was given back in good order counts only for
/// `in_all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Workers in a row that may be lost before they bring a word.
    pub without_progress: u32,
    /// Answers that a provider may break off.
    pub broken_off: u32,
    /// Attempts of all kinds.
    pub in_all: u32,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { without_progress: 10, broken_off: 3, in_all: 50 }
    }
}

/// How long a turn that was asked to stop may hold back the one that interrupted it.
const STOPPING_AT_MOST: TimeDelta = TimeDelta::seconds(5);

pub(super) fn start_attempt(
    session: &Session,
    turn_id: TurnId,
    worker_id: &WorkerId,
    lost: Option<&LostAttempt>,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = find_unfinished(session, turn_id)?;
    let lost =
        lost.filter(|lost| turn.status == TurnStatus::Running && lost.attempt == turn.attempt);
    if turn.status == TurnStatus::Running && lost.is_none() {
        return Err(Rejection::AttemptSuperseded);
    }
    if turn.cancel_requested_at.is_some() {
        return match lost {
            Some(lost) => confirm_cancel(session, turn_id, lost.attempt, &lost.partial, context),
            None => Ok(vec![cancelled_empty(turn_id, turn, context)]),
        };
    }
    let mut events = Vec::new();
    for earlier in session.active.iter().take_while(|id| **id != turn_id) {
        let stopping = find(session, *earlier)?;
        let overdue = stopping
            .cancel_requested_at
            .is_some_and(|asked| context.now - asked >= STOPPING_AT_MOST);
        if !overdue {
            return Err(Rejection::EarlierTurnStopping);
        }
        // Its worker may still be at it, and tells later what it used.
        events.push(cancelled_without_its_attempt(*earlier, stopping, context));
    }
    events.extend(lost.map(|lost| given_up(turn_id, lost, context)));
    events.push(match exhausted(turn, lost, context) {
        Some(error) => {
            let (attempt, at) = (turn.attempt, context.now);
            SessionEvent::TurnFailed { turn_id, attempt, error, usage: None, at }
        }
        None => SessionEvent::AttemptStarted {
            turn_id,
            attempt: turn.attempt + 1,
            worker_id: worker_id.clone(),
            at: context.now,
        },
    });
    Ok(events)
}

fn given_up(turn_id: TurnId, lost: &LostAttempt, context: &Context) -> SessionEvent {
    SessionEvent::AttemptAbandoned {
        turn_id,
        attempt: lost.attempt,
        error: TurnError {
            code: WORKER_LOST.to_owned(),
            message: "its worker gave no sign of life any more".to_owned(),
        },
        reached: lost.reached,
        usage: lost.partial.usage,
        at: context.now,
    }
}

/// Why there is no further attempt, if there is none.
fn exhausted(turn: &Turn, lost: Option<&LostAttempt>, context: &Context) -> Option<TurnError> {
    let in_a_row = lost.map_or(0, |lost| turn.lost_after(lost.reached));
    let message = if in_a_row >= context.attempts.without_progress {
        format!("no answer: {in_a_row} workers in a row were lost over it")
    } else if turn.attempt >= context.attempts.in_all {
        format!("no answer after {} attempts", turn.attempt)
    } else {
        return None;
    };
    Some(TurnError { code: "attempts_exhausted".to_owned(), message })
}

/// A turn that was asked to stop has stopped. After too many answers that were broken off, the
/// last one's failure is the turn's.
pub(super) fn abandon_attempt(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    error: &TurnError,
    reached: u64,
    partial: &Completion,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = held_by(session, turn_id, attempt)?;
    let limits = context.attempts;
    if turn.broken_off + 1 >= limits.broken_off || attempt >= limits.in_all {
        let usage = Some(partial.usage);
        return fail_turn(session, turn_id, attempt, error, usage, partial, context);
    }
    if turn.cancel_requested_at.is_some() {
        return confirm_cancel(session, turn_id, attempt, partial, context);
    }
    Ok(vec![SessionEvent::AttemptAbandoned {
        turn_id,
        attempt,
        error: error.clone(),
        reached,
        usage: partial.usage,
        at: context.now,
    }])
}

/// A turn that was asked to stop has stopped; any other waits for the next worker. Giving it
/// back again changes nothing.
pub(super) fn release_attempt(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    partial: Option<&Completion>,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = find_unfinished(session, turn_id)?;
    if turn.status == TurnStatus::Queued && turn.attempt == attempt {
        return Ok(Vec::new());
    }
    let turn = held_by(session, turn_id, attempt)?;
    if turn.cancel_requested_at.is_some() {
        return match partial {
            Some(partial) => confirm_cancel(session, turn_id, attempt, partial, context),
            None => Ok(vec![cancelled_empty(turn_id, turn, context)]),
        };
    }
    let usage = partial.map(|partial| partial.usage);
    Ok(vec![SessionEvent::AttemptReleased { turn_id, attempt, usage, at: context.now }])
}

pub(super) fn complete_turn(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    finish_reason: FinishReason,
    completion: &Completion,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = held_by(session, turn_id, attempt)?;
    Ok(vec![SessionEvent::TurnCompleted {
        turn_id,
        attempt,
        finish_reason,
        completion: in_its_place(completion, turn),
        at: context.now,
    }])
}

/// A turn that was asked to stop and then fails has stopped; what it used is kept.
pub(super) fn fail_turn(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    error: &TurnError,
    usage: Option<Usage>,
    partial: &Completion,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = held_by(session, turn_id, attempt)?;
    if turn.cancel_requested_at.is_some() {
        return confirm_cancel(session, turn_id, attempt, partial, context);
    }
    let error = error.clone();
    Ok(vec![SessionEvent::TurnFailed { turn_id, attempt, error, usage, at: context.now }])
}

pub(super) fn confirm_cancel(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    completion: &Completion,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = held_by(session, turn_id, attempt)?;
    let completion = Some(in_its_place(completion, turn));
    Ok(vec![SessionEvent::TurnCancelled { turn_id, attempt, completion, at: context.now }])
}

fn find_unfinished(session: &Session, turn_id: TurnId) -> Result<&Turn, Rejection> {
    let turn = find(session, turn_id)?;
    if turn.status.is_terminal() { Err(Rejection::TurnFinished) } else { Ok(turn) }
}

/// The turn, if `attempt` is the one that holds it. This fences out a worker that was
/// presumed dead and comes back.
fn held_by(session: &Session, turn_id: TurnId, attempt: u32) -> Result<&Turn, Rejection> {
    let turn = find_unfinished(session, turn_id)?;
    if turn.status == TurnStatus::Running && turn.attempt == attempt {
        Ok(turn)
    } else {
        Err(Rejection::AttemptSuperseded)
    }
}

/// The answer, where the turn said it would stand: other messages may follow it already.
fn in_its_place(completion: &Completion, turn: &Turn) -> Completion {
    let message = Message {
        id: turn.answer_id,
        parent_id: Some(turn.message_id),
        role: Role::Assistant,
        ..completion.message.clone()
    };
    Completion { message, ..completion.clone() }
}

/// A turn that is ended though its attempt has not said how far it came.
fn cancelled_without_its_attempt(turn_id: TurnId, turn: &Turn, context: &Context) -> SessionEvent {
    let mut event = cancelled_empty(turn_id, turn, context);
    if let SessionEvent::TurnCancelled { completion: Some(completion), .. } = &mut event {
        completion.stopped_by = Some(ATTEMPT_AT_WORK.to_owned());
    }
    event
}

/// The message is kept though empty: a message that interrupted the turn follows it.
fn cancelled_empty(turn_id: TurnId, turn: &Turn, context: &Context) -> SessionEvent {
    let message = Message {
        id: turn.answer_id,
        parent_id: Some(turn.message_id),
        role: Role::Assistant,
        content: Vec::new(),
        name: None,
        created_at: context.now,
    };
    let completion = Completion {
        message,
        usage: Usage::default(),
        timing: Timing::default(),
        cuts: Cuts::default(),
        stopped_by: None,
    };
    let (attempt, at) = (turn.attempt, context.now);
    SessionEvent::TurnCancelled { turn_id, attempt, completion: Some(completion), at }
}
