//! The rules of turns: one at a time, held by one attempt, ended exactly once.

use chrono::TimeDelta;

use crate::completion::{Completion, FinishReason, Timing, Usage};
use crate::content::{ContentPart, Message, Role};
use crate::cuts::Cuts;
use crate::ids::{MessageId, TurnId, WorkerId};
use crate::models::{ModelSpec, Models};
use crate::session::command::{
    CreateCompletion, CreateSession, NewMessage, OnBusy, RetryTurn, SendMessage,
};
use crate::session::decide::{self, Context};
use crate::session::event::{SessionEvent, TurnError};
use crate::session::rejection::Rejection;
use crate::session::state::{Session, SessionStatus, Turn, TurnStatus};
use crate::settings::Settings;

/// In `stopped_by`: the turn was ended while an attempt was at it, which tells the account by
/// itself what it used.
pub const ATTEMPT_AT_WORK: &str = "attempt_at_work";

/// Attempts at one turn that may be lost with their workers, after which it fails. One that was
/// given back in good order does not count.
pub const MAX_ATTEMPTS: u32 = 3;

/// Messages before the newest of a stateless call: each is placed, billed and stored.
const MAX_HISTORY: usize = 10_000;

/// How long a turn that was asked to stop may hold back the one that interrupted it.
const STOPPING_AT_MOST: TimeDelta = TimeDelta::seconds(5);

pub(super) fn refuse_if_busy(session: &Session) -> Result<(), Rejection> {
    session.active.first().map_or(Ok(()), |turn| Err(Rejection::TurnInProgress(*turn)))
}

pub(super) fn send_message(
    session: &Session,
    send: &SendMessage,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    refuse_if_archived(session)?;
    decide::check_message(&send.message)?;
    check_results(session, &send.message)?;
    let mut events = Vec::new();
    let mut newest = session.leaf;
    if let Some(running) = session.active.last() {
        if send.on_busy == OnBusy::Refuse {
            return Err(Rejection::TurnInProgress(*running));
        }
        for turn_id in &session.active {
            events.extend(cancel_turn(session, *turn_id, context)?);
        }
        newest = branch_after_interrupt(session, *running).or(newest);
    }
    if send.parent_id.is_some_and(|parent| !session.messages.contains_key(&parent)) {
        return Err(Rejection::ParentNotFound);
    }
    let (settings, pool) = turn_settings(&session.settings.patched(&send.settings), context)?;
    let parent_id = send.parent_id.or(newest);
    events.push(sent(&send.message, send.ids.message_id, parent_id, context));
    events.push(SessionEvent::TurnRequested {
        turn_id: send.ids.turn_id,
        message_id: send.ids.message_id,
        answer_id: send.ids.answer_id,
        settings,
        pool,
        at: context.now,
    });
    Ok(events)
}

/// A tool's result answers a call; a provider would refuse it otherwise.
fn check_results(session: &Session, message: &NewMessage) -> Result<(), Rejection> {
    for part in &message.content {
        let ContentPart::ToolResult { tool_call_id, .. } = part else { continue };
        let is_call = |part: &ContentPart| matches!(part, ContentPart::ToolCall { id, .. } if id == tool_call_id);
        if !session.messages.values().any(|message| message.content.iter().any(is_call)) {
            return Err(Rejection::InvalidContent(
                "a tool result must name a call of this session",
            ));
        }
    }
    Ok(())
}

/// The message that interrupts follows the partial answer, which a running turn always
/// leaves behind.
fn branch_after_interrupt(session: &Session, running: TurnId) -> Option<MessageId> {
    let turn = session.turn(running)?;
    Some(if turn.status == TurnStatus::Running { turn.answer_id } else { turn.message_id })
}

pub(super) fn retry_turn(
    session: &Session,
    retry: &RetryTurn,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    refuse_if_archived(session)?;
    let turn = find(session, retry.turn_id)?;
    refuse_if_busy(session)?;
    if !session.messages.contains_key(&turn.message_id) {
        return Err(Rejection::TurnNotFound);
    }
    let (settings, pool) = turn_settings(&turn.settings.patched(&retry.settings), context)?;
    Ok(vec![SessionEvent::TurnRequested {
        turn_id: retry.new_turn_id,
        message_id: turn.message_id,
        answer_id: retry.answer_id,
        settings,
        pool,
        at: context.now,
    }])
}

pub(super) fn create_completion(
    session: &Session,
    create: &CreateCompletion,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    if create.history.len() > MAX_HISTORY {
        return Err(Rejection::TooMany { what: "messages", limit: "10000 earlier ones" });
    }
    decide::check_message(&create.message)?;
    create.history.iter().try_for_each(decide::check_earlier_message)?;
    if create.history.len() != create.history_ids.len() {
        return Err(Rejection::InvalidContent("every earlier message needs an id"));
    }
    let (settings, pool) = turn_settings(&create.settings, context)?;
    let opening =
        CreateSession { settings: settings.clone(), ephemeral: true, ..CreateSession::default() };
    let mut events = vec![decide::created(session, &opening, context)?];
    let mut parent_id = None;
    let mut messages = Vec::with_capacity(create.history.len());
    for (message, id) in create.history.iter().zip(&create.history_ids) {
        messages.push(placed(message, *id, parent_id, context));
        parent_id = Some(*id);
    }
    if !messages.is_empty() {
        events.push(SessionEvent::MessagesImported { messages, at: context.now });
    }
    events.push(sent(&create.message, create.ids.message_id, parent_id, context));
    events.push(SessionEvent::TurnRequested {
        turn_id: create.ids.turn_id,
        message_id: create.ids.message_id,
        answer_id: create.ids.answer_id,
        settings,
        pool,
        at: context.now,
    });
    Ok(events)
}

/// A queued turn ends at once; a running one is asked to stop, and its worker says how far
/// it came. Asking again, or after the end, changes nothing.
pub(super) fn cancel_turn(
    session: &Session,
    turn_id: TurnId,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = find(session, turn_id)?;
    let at = context.now;
    Ok(match turn.status {
        TurnStatus::Queued => vec![
            SessionEvent::CancelRequested { turn_id, at },
            // The number tells watchers of an attempt that was given back that this is the end.
            SessionEvent::TurnCancelled { turn_id, attempt: turn.attempt, completion: None, at },
        ],
        TurnStatus::Running if turn.cancel_requested_at.is_none() => {
            vec![SessionEvent::CancelRequested { turn_id, at }]
        }
        _ => Vec::new(),
    })
}

pub(super) fn start_attempt(
    session: &Session,
    turn_id: TurnId,
    worker_id: &WorkerId,
    takeover: bool,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = find_unfinished(session, turn_id)?;
    if turn.status == TurnStatus::Running && !takeover {
        return Err(Rejection::AttemptSuperseded);
    }
    if turn.cancel_requested_at.is_some() {
        return Ok(vec![cancelled_empty(turn_id, turn, context)]);
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
    let lost = turn.lost + u32::from(turn.status == TurnStatus::Running);
    events.push(if lost >= MAX_ATTEMPTS {
        SessionEvent::TurnFailed {
            turn_id,
            attempt: turn.attempt,
            error: TurnError {
                code: "attempts_exhausted".to_owned(),
                message: format!("no answer: {lost} workers were lost over it"),
            },
            usage: None,
            at: context.now,
        }
    } else {
        SessionEvent::AttemptStarted {
            turn_id,
            attempt: turn.attempt + 1,
            worker_id: worker_id.clone(),
            at: context.now,
        }
    });
    Ok(events)
}

/// A turn that was asked to stop has stopped; any other waits for the next worker. Giving it
/// back again changes nothing.
pub(super) fn release_attempt(
    session: &Session,
    turn_id: TurnId,
    attempt: u32,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let turn = find_unfinished(session, turn_id)?;
    if turn.status == TurnStatus::Queued && turn.attempt == attempt {
        return Ok(Vec::new());
    }
    let turn = held_by(session, turn_id, attempt)?;
    if turn.cancel_requested_at.is_some() {
        return Ok(vec![cancelled_without_its_attempt(turn_id, turn, context)]);
    }
    Ok(vec![SessionEvent::AttemptReleased { turn_id, attempt, at: context.now }])
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

/// The settings of one turn, with its model named and checked, and the model's queue.
fn turn_settings(wanted: &Settings, context: &Context) -> Result<(Settings, String), Rejection> {
    wanted.validate()?;
    let model = model_for(wanted, &context.models)?;
    if let Some(asked) = wanted.max_tokens.filter(|asked| *asked > model.max_output) {
        let (model, limit) = (model.name.clone(), model.max_output);
        return Err(Rejection::MaxTokensTooLarge { asked, model, limit });
    }
    let settings = Settings { model: Some(model.name.clone()), ..wanted.clone() };
    Ok((settings, model.pool.clone()))
}

fn model_for<'a>(wanted: &Settings, models: &'a Models) -> Result<&'a ModelSpec, Rejection> {
    match &wanted.model {
        Some(name) => decide::offered(name, models),
        None => models.default_model().ok_or(Rejection::NoModel),
    }
}

fn refuse_if_archived(session: &Session) -> Result<(), Rejection> {
    if session.status == SessionStatus::Archived {
        return Err(Rejection::SessionArchived);
    }
    Ok(())
}

fn find(session: &Session, turn_id: TurnId) -> Result<&Turn, Rejection> {
    session.turn(turn_id).ok_or(Rejection::TurnNotFound)
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

fn sent(
    message: &NewMessage,
    id: MessageId,
    parent_id: Option<MessageId>,
    context: &Context,
) -> SessionEvent {
    SessionEvent::MessageSent { message: placed(message, id, parent_id, context) }
}

fn placed(
    message: &NewMessage,
    id: MessageId,
    parent_id: Option<MessageId>,
    context: &Context,
) -> Message {
    Message {
        id,
        parent_id,
        role: message.role,
        content: message.content.clone(),
        name: message.name.clone(),
        created_at: context.now,
    }
}
