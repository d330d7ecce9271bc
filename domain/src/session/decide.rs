//! The rules of a session: what a command makes happen, or why it is refused.
//!
//! Pure: the same state, command and context always give the same events. The rules about
//! turns stand in `decide_turn`, those of attempts in `decide_attempt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::content::{ContentPart, Role};
use crate::models::{ModelSpec, Models};
use crate::session::command::{CreateSession, NewMessage, SessionCommand, UpdateSession};
use crate::session::decide_attempt::{self as attempts, AttemptLimits};
use crate::session::decide_turn as turns;
use crate::session::event::SessionEvent;
use crate::session::rejection::Rejection;
use crate::session::state::{Session, SessionStatus};
use crate::{Actor, ActorRole};

const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
const MAX_PARTS: usize = 64;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TAGS: usize = 32;
const MAX_TAG_CHARS: usize = 64;
const MAX_NAME_CHARS: usize = 128;
const MAX_METADATA_BYTES: usize = 16 * 1024;

/// What surrounds a command: the caller, the time, the models on offer.
#[derive(Debug, Clone)]
pub struct Context {
    /// The command's time; every event it makes carries it.
    pub now: DateTime<Utc>,
    /// Who asks.
    pub actor: Actor,
    /// The models on offer.
    pub models: Arc<Models>,
    /// How often a turn is tried.
    pub attempts: AttemptLimits,
}

/// Decides `command` on `session`.
pub fn decide(
    session: &Session,
    command: &SessionCommand,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    use SessionCommand as C;
    match command {
        C::CreateSession(create) => return create_session(session, create, context),
        C::CreateCompletion(create) => return turns::create_completion(session, create, context),
        _ => authorize(session, command, context)?,
    }
    let gone = session.status == SessionStatus::Deleted;
    match command {
        C::UpdateSession(_) | C::SendMessage(_) | C::RetryTurn(_) | C::ClearHistory if gone => {
            Err(Rejection::SessionNotFound)
        }
        C::DeleteSession if gone => Ok(Vec::new()),
        C::CreateSession(_) | C::CreateCompletion(_) => Err(Rejection::SessionExists),
        C::UpdateSession(update) => update_session(session, update, context),
        C::DeleteSession => Ok(delete_session(session, context)),
        C::ClearHistory => clear_history(session, context),
        C::SendMessage(send) => turns::send_message(session, send, context),
        C::RetryTurn(retry) => turns::retry_turn(session, retry, context),
        C::CancelTurn { turn_id } => turns::cancel_turn(session, *turn_id, context),
        C::StartAttempt { turn_id, worker_id, lost } => {
            attempts::start_attempt(session, *turn_id, worker_id, lost.as_ref(), context)
        }
        C::ReleaseAttempt { turn_id, attempt, partial } => {
            attempts::release_attempt(session, *turn_id, *attempt, partial.as_ref(), context)
        }
        C::AbandonAttempt { turn_id, attempt, error, reached, partial } => {
            attempts::abandon_attempt(
                session, *turn_id, *attempt, error, *reached, partial, context,
            )
        }
        C::CompleteTurn { turn_id, attempt, finish_reason, completion } => attempts::complete_turn(
            session,
            *turn_id,
            *attempt,
            *finish_reason,
            completion,
            context,
        ),
        C::FailTurn { turn_id, attempt, error, usage, partial } => {
            attempts::fail_turn(session, *turn_id, *attempt, error, *usage, partial, context)
        }
        C::ConfirmCancel { turn_id, attempt, completion } => {
            attempts::confirm_cancel(session, *turn_id, *attempt, completion, context)
        }
    }
}

/// A turn's answer is the workers' affair: no user may hold or end an attempt.
fn authorize(
    session: &Session,
    command: &SessionCommand,
    context: &Context,
) -> Result<(), Rejection> {
    use SessionCommand as C;
    let for_workers = matches!(
        command,
        C::StartAttempt { .. }
            | C::ReleaseAttempt { .. }
            | C::AbandonAttempt { .. }
            | C::CompleteTurn { .. }
            | C::FailTurn { .. }
            | C::ConfirmCancel { .. }
    );
    match &session.owner {
        Some((tenant_id, user_id)) if context.actor.may_see(tenant_id, user_id) => {
            if for_workers && context.actor.role != ActorRole::System {
                return Err(Rejection::TurnNotFound);
            }
            Ok(())
        }
        _ => Err(Rejection::SessionNotFound),
    }
}

fn create_session(
    session: &Session,
    create: &CreateSession,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    Ok(vec![created(session, create, context)?])
}

/// The first event of a session, if it may be.
pub(super) fn created(
    session: &Session,
    create: &CreateSession,
    context: &Context,
) -> Result<SessionEvent, Rejection> {
    if session.status != SessionStatus::Absent {
        return Err(Rejection::SessionExists);
    }
    check_title(create.title.as_deref())?;
    check_tags(&create.tags)?;
    check_metadata(&create.metadata)?;
    create.settings.validate()?;
    check_model(create.settings.model.as_deref(), &context.models)?;
    Ok(SessionEvent::SessionCreated {
        tenant_id: context.actor.tenant_id.clone(),
        user_id: context.actor.user_id.clone(),
        title: create.title.clone(),
        settings: create.settings.clone(),
        tags: create.tags.clone(),
        metadata: create.metadata.clone(),
        ephemeral: create.ephemeral,
        at: context.now,
    })
}

/// What is asked for but already so makes no event.
fn update_session(
    session: &Session,
    update: &UpdateSession,
    context: &Context,
) -> Result<Vec<SessionEvent>, Rejection> {
    let at = context.now;
    let mut events = Vec::new();
    if let Some(title) = update.title.as_ref().filter(|title| **title != session.title) {
        check_title(title.as_deref())?;
        events.push(SessionEvent::SessionRenamed { title: title.clone(), at });
    }
    if let Some(patch) = &update.settings {
        let settings = session.settings.patched(patch);
        settings.validate()?;
        if settings.model != session.settings.model {
            check_model(settings.model.as_deref(), &context.models)?;
        }
        if settings != session.settings {
            events.push(SessionEvent::SettingsChanged { settings, at });
        }
    }
    let tags = update.tags.as_ref().unwrap_or(&session.tags);
    let metadata = update.metadata.as_ref().unwrap_or(&session.metadata);
    check_tags(tags)?;
    check_metadata(metadata)?;
    if *tags != session.tags || *metadata != session.metadata {
        let (tags, metadata) = (tags.clone(), metadata.clone());
        events.push(SessionEvent::SessionAnnotated { tags, metadata, at });
    }
    match (update.archived, session.status) {
        (Some(true), SessionStatus::Active) => {
            turns::refuse_if_busy(session)?;
            events.push(SessionEvent::SessionArchived { at });
        }
        (Some(false), SessionStatus::Archived) => events.push(SessionEvent::SessionRestored { at }),
        _ => {}
    }
    Ok(events)
}

/// Every running turn ends here and now: nobody can ask for its text any more.
fn delete_session(session: &Session, context: &Context) -> Vec<SessionEvent> {
    let at = context.now;
    let cancelled = session.active.iter().filter_map(|id| {
        let attempt = session.turn(*id)?.attempt;
        Some(SessionEvent::TurnCancelled { turn_id: *id, attempt, completion: None, at })
    });
    cancelled.chain([SessionEvent::SessionDeleted { at }]).collect()
}

fn clear_history(session: &Session, context: &Context) -> Result<Vec<SessionEvent>, Rejection> {
    turns::refuse_if_busy(session)?;
    if session.messages.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![SessionEvent::HistoryCleared { at: context.now }])
}

fn check_title(title: Option<&str>) -> Result<(), Rejection> {
    if title.is_some_and(|title| title.chars().count() > MAX_TITLE_CHARS) {
        return Err(Rejection::TooMany { what: "title", limit: "200 characters" });
    }
    Ok(())
}

fn check_tags(tags: &[String]) -> Result<(), Rejection> {
    if tags.len() > MAX_TAGS {
        return Err(Rejection::TooMany { what: "tags", limit: "32 entries" });
    }
    if tags.iter().any(|tag| tag.trim().is_empty()) {
        return Err(Rejection::EmptyTag);
    }
    if tags.iter().any(|tag| tag.chars().count() > MAX_TAG_CHARS) {
        return Err(Rejection::TooMany { what: "a tag", limit: "64 characters" });
    }
    Ok(())
}

fn check_metadata(metadata: &BTreeMap<String, Value>) -> Result<(), Rejection> {
    let size: usize = metadata.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
    if size > MAX_METADATA_BYTES {
        return Err(Rejection::TooMany { what: "metadata", limit: "16 KiB" });
    }
    Ok(())
}

/// Settings may stand without a model, but not with one that can't be had.
fn check_model(name: Option<&str>, models: &Models) -> Result<(), Rejection> {
    name.map_or(Ok(()), |name| offered(name, models).map(drop))
}

/// The model called `name`, if new turns may ask for it.
pub(super) fn offered<'a>(name: &str, models: &'a Models) -> Result<&'a ModelSpec, Rejection> {
    match models.get(name) {
        None => Err(Rejection::UnknownModel(name.to_owned())),
        Some(model) if !model.is_enabled() => Err(Rejection::ModelDisabled(name.to_owned())),
        Some(model) => Ok(model),
    }
}

/// A message's content must say something and keep to the limits.
pub(super) fn check_message(message: &NewMessage) -> Result<(), Rejection> {
    if message.content.iter().all(ContentPart::is_blank) {
        return Err(Rejection::EmptyMessage);
    }
    check_earlier_message(message)
}

/// The limits and the parts alone: an imported assistant message may be empty.
pub(super) fn check_earlier_message(message: &NewMessage) -> Result<(), Rejection> {
    check_parts(message)?;
    if message.name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS) {
        return Err(Rejection::TooMany { what: "name", limit: "128 characters" });
    }
    if message.content.len() > MAX_PARTS {
        return Err(Rejection::TooMany { what: "content", limit: "64 parts" });
    }
    let size = message.content.iter().map(ContentPart::size).sum();
    if size > MAX_MESSAGE_BYTES {
        return Err(Rejection::MessageTooLarge { size, limit: MAX_MESSAGE_BYTES });
    }
    Ok(())
}

/// Parts that no provider would take from this speaker, and that would otherwise be lost on
/// the way to it without a word.
fn check_parts(message: &NewMessage) -> Result<(), Rejection> {
    use ContentPart as P;
    let any = |test: fn(&P) -> bool| message.content.iter().any(test);
    match message.role {
        Role::Tool if any(|part| !matches!(part, P::ToolResult { .. })) => {
            Err(Rejection::InvalidContent("a tool's message holds tool results only"))
        }
        Role::System | Role::User
            if any(|part| matches!(part, P::ToolCall { .. } | P::Reasoning { .. })) =>
        {
            Err(Rejection::InvalidContent("only the assistant calls tools and reasons"))
        }
        Role::Assistant if any(|part| matches!(part, P::ToolResult { .. })) => {
            Err(Rejection::InvalidContent("a tool result does not come from the assistant"))
        }
        _ => Ok(()),
    }
}
