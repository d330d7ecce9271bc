//! The rules of turns: one at a time, requested, retried, cancelled. Those of the attempts at
//! them stand in `decide_attempt`.

use crate::content::{ContentPart, Message};
use crate::ids::{MessageId, TurnId};
use crate::models::{ModelSpec, Models};
use crate::session::command::{
    CreateCompletion, CreateSession, NewMessage, OnBusy, RetryTurn, SendMessage,
};
use crate::session::decide::{self, Context};
use crate::session::event::SessionEvent;
use crate::session::rejection::Rejection;
use crate::session::state::{Session, SessionStatus, Turn, TurnStatus};
use crate::settings::Settings;

/// Messages before the newest of a stateless call: each is placed, billed and stored.
const MAX_HISTORY: usize = 10_000;

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

pub(super) fn find(session: &Session, turn_id: TurnId) -> Result<&Turn, Rejection> {
    session.turn(turn_id).ok_or(Rejection::TurnNotFound)
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
