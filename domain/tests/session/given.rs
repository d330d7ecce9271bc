//! The words that the rules' tests are written in.

mod commands;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use cqrs_es::test::{AggregateResultValidator, TestFramework};
use domain::session::{
    AttemptLimits, Context, NewMessage, Session, SessionEvent, TurnError, TurnIds, WORKER_LOST,
};
use domain::{
    Actor, ActorRole, Completion, ContentPart, Cuts, FinishReason, Message, MessageId, ModelSpec,
    Models, Role, Settings, SettingsPatch, TenantId, Timing, TurnId, Usage, UserId, WorkerId,
};
use uuid::Uuid;

pub(crate) use commands::{
    Command, abandon, cancel, complete, confirm, fail, interrupt, release, send, start, take_over,
};

pub(crate) type Then = AggregateResultValidator<Session>;

/// `command` by the session's owner, at [`now`].
pub(crate) fn when(given: &[SessionEvent], command: impl Command) -> Then {
    when_by(&owner(), given, command)
}

/// `command` by a worker, at [`now`].
pub(crate) fn when_worker(given: &[SessionEvent], command: impl Command) -> Then {
    when_by(&worker_actor(), given, command)
}

pub(crate) fn when_by(actor: &Actor, given: &[SessionEvent], command: impl Command) -> Then {
    when_in(Context { actor: actor.clone(), ..context() }, given, command)
}

pub(crate) fn when_in(context: Context, given: &[SessionEvent], command: impl Command) -> Then {
    TestFramework::<Session>::with(context).given(given.to_vec()).when(command.command())
}

/// The past, one part after another.
pub(crate) fn past(parts: &[&[SessionEvent]]) -> Vec<SessionEvent> {
    parts.concat()
}

// ------------------------------------------------------------------ who, when, what

pub(crate) fn tenant() -> TenantId {
    TenantId::from_str("acme").unwrap()
}

pub(crate) fn actor(tenant: &str, user: &str, role: ActorRole) -> Actor {
    Actor {
        tenant_id: TenantId::from_str(tenant).unwrap(),
        user_id: UserId::from_str(user).unwrap(),
        role,
    }
}

pub(crate) fn owner() -> Actor {
    actor("acme", "ada", ActorRole::User)
}

pub(crate) fn worker_actor() -> Actor {
    Actor::system(tenant())
}

pub(crate) fn worker(name: &str) -> WorkerId {
    WorkerId::from_str(name).unwrap()
}

/// When the given events happened.
pub(crate) fn then() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
}

/// When the command comes: a minute later.
pub(crate) fn now() -> DateTime<Utc> {
    then() + TimeDelta::minutes(1)
}

/// Small ones, so that the tests reach them.
pub(crate) const LIMITS: AttemptLimits =
    AttemptLimits { without_progress: 3, broken_off: 2, in_all: 30 };

pub(crate) fn context() -> Context {
    let models = [("small", "fast", 8_000, 1_000), ("large", "slow", 100_000, 8_000)];
    let models = models.map(|(name, pool, context, max_output)| ModelSpec {
        pool: pool.to_owned(),
        ..ModelSpec::new(name, "scripted", context, max_output)
    });
    Context {
        now: now(),
        actor: owner(),
        models: Arc::new(Models::new(models.to_vec())),
        attempts: LIMITS,
    }
}

pub(crate) fn context_without_models() -> Context {
    Context { models: Arc::default(), ..context() }
}

pub(crate) fn message_id(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

pub(crate) fn turn_id(number: u128) -> TurnId {
    TurnId(Uuid::from_u128(number))
}

/// The ids of the turn called `number`: its message is `number * 10`, its answer one more.
pub(crate) fn ids(number: u128) -> TurnIds {
    TurnIds {
        turn_id: turn_id(number),
        message_id: message_id(number * 10),
        answer_id: message_id(number * 10 + 1),
    }
}

pub(crate) fn patch(json: &str) -> SettingsPatch {
    serde_json::from_str(json).unwrap()
}

/// Settings with a model named, as a turn has them.
pub(crate) fn settings(model: &str) -> Settings {
    Settings { model: Some(model.to_owned()), ..Settings::default() }
}

// ------------------------------------------------------------------ messages

pub(crate) fn said(role: Role, text: &str) -> NewMessage {
    NewMessage { role, content: vec![ContentPart::text(text)], name: None }
}

pub(crate) fn message(
    id: MessageId,
    parent_id: Option<MessageId>,
    new: &NewMessage,
    created_at: DateTime<Utc>,
) -> Message {
    Message {
        id,
        parent_id,
        role: new.role,
        content: new.content.clone(),
        name: new.name.clone(),
        created_at,
    }
}

/// What turn `number` answers with.
pub(crate) fn answer(number: u128, text: &str) -> Completion {
    let ids = ids(number);
    let said = said(Role::Assistant, text);
    Completion {
        message: message(ids.answer_id, Some(ids.message_id), &said, then()),
        usage: Usage { prompt_tokens: 7, completion_tokens: 5, ..Usage::default() },
        timing: Timing { queued_ms: 1, first_delta_ms: 2, total_ms: 3 },
        cuts: Cuts { text: vec![u32::try_from(text.len()).unwrap()], ..Cuts::default() },
        stopped_by: None,
    }
}

/// What a turn leaves behind that stopped before it said anything.
pub(crate) fn empty_answer(number: u128, at: DateTime<Utc>) -> Completion {
    let ids = ids(number);
    let nothing = NewMessage { role: Role::Assistant, content: Vec::new(), name: None };
    Completion {
        message: message(ids.answer_id, Some(ids.message_id), &nothing, at),
        usage: Usage::default(),
        timing: Timing::default(),
        cuts: Cuts::default(),
        stopped_by: None,
    }
}

/// The same answer, of a turn that was ended while its attempt was at work.
pub(crate) fn untold(completion: Completion) -> Completion {
    Completion { stopped_by: Some(domain::session::ATTEMPT_AT_WORK.to_owned()), ..completion }
}

// ------------------------------------------------------------------ events, at then()

pub(crate) fn created() -> SessionEvent {
    SessionEvent::SessionCreated {
        tenant_id: tenant(),
        user_id: owner().user_id,
        title: Some("A talk".to_owned()),
        settings: Settings::default(),
        tags: vec!["work".to_owned()],
        metadata: BTreeMap::new(),
        ephemeral: false,
        at: then(),
    }
}

pub(crate) fn archived() -> SessionEvent {
    SessionEvent::SessionArchived { at: then() }
}

pub(crate) fn deleted() -> SessionEvent {
    SessionEvent::SessionDeleted { at: then() }
}

/// A message is sent and its turn asked for.
pub(crate) fn asked_at(
    number: u128,
    parent_id: Option<MessageId>,
    at: DateTime<Utc>,
) -> Vec<SessionEvent> {
    let ids = ids(number);
    vec![
        SessionEvent::MessageSent {
            message: message(ids.message_id, parent_id, &said(Role::User, "hello"), at),
        },
        requested_at(number, ids.message_id, settings("small"), at),
    ]
}

pub(crate) fn asked(number: u128, parent_id: Option<MessageId>) -> Vec<SessionEvent> {
    asked_at(number, parent_id, then())
}

pub(crate) fn requested_at(
    number: u128,
    message_id: MessageId,
    settings: Settings,
    at: DateTime<Utc>,
) -> SessionEvent {
    let pool = if settings.model.as_deref() == Some("large") { "slow" } else { "fast" };
    SessionEvent::TurnRequested {
        turn_id: turn_id(number),
        message_id,
        answer_id: ids(number).answer_id,
        settings,
        pool: pool.to_owned(),
        at,
    }
}

pub(crate) fn started_at(number: u128, attempt: u32, at: DateTime<Utc>) -> SessionEvent {
    SessionEvent::AttemptStarted {
        turn_id: turn_id(number),
        attempt,
        worker_id: worker("worker"),
        at,
    }
}

pub(crate) fn started(number: u128, attempt: u32) -> SessionEvent {
    started_at(number, attempt, then())
}

pub(crate) fn released_at(number: u128, attempt: u32, at: DateTime<Utc>) -> SessionEvent {
    SessionEvent::AttemptReleased { turn_id: turn_id(number), attempt, usage: None, at }
}

pub(crate) fn released(number: u128, attempt: u32) -> SessionEvent {
    released_at(number, attempt, then())
}

/// An attempt whose worker was lost when it had said `text`.
pub(crate) fn lost_at(number: u128, attempt: u32, text: &str, at: DateTime<Utc>) -> SessionEvent {
    SessionEvent::AttemptAbandoned {
        turn_id: turn_id(number),
        attempt,
        error: TurnError {
            code: WORKER_LOST.to_owned(),
            message: "its worker gave no sign of life any more".to_owned(),
        },
        reached: text.len() as u64,
        usage: answer(number, text).usage,
        at,
    }
}

pub(crate) fn lost(number: u128, attempt: u32, text: &str) -> SessionEvent {
    lost_at(number, attempt, text, then())
}

/// An attempt whose provider broke off when it had said `text`.
pub(crate) fn broken_off_at(
    number: u128,
    attempt: u32,
    text: &str,
    at: DateTime<Utc>,
) -> SessionEvent {
    SessionEvent::AttemptAbandoned {
        turn_id: turn_id(number),
        attempt,
        error: trouble(),
        reached: text.len() as u64,
        usage: answer(number, text).usage,
        at,
    }
}

pub(crate) fn broken_off(number: u128, attempt: u32, text: &str) -> SessionEvent {
    broken_off_at(number, attempt, text, then())
}

pub(crate) fn stop_asked_at(number: u128, at: DateTime<Utc>) -> SessionEvent {
    SessionEvent::CancelRequested { turn_id: turn_id(number), at }
}

pub(crate) fn stop_asked(number: u128) -> SessionEvent {
    stop_asked_at(number, then())
}

pub(crate) fn completed(number: u128, attempt: u32) -> SessionEvent {
    SessionEvent::TurnCompleted {
        turn_id: turn_id(number),
        attempt,
        finish_reason: FinishReason::Stop,
        completion: answer(number, "hi"),
        at: then(),
    }
}

pub(crate) fn cancelled_at(
    number: u128,
    attempt: u32,
    completion: impl Into<Option<Completion>>,
    at: DateTime<Utc>,
) -> SessionEvent {
    let completion = completion.into();
    SessionEvent::TurnCancelled { turn_id: turn_id(number), attempt, completion, at }
}

pub(crate) fn trouble() -> TurnError {
    TurnError { code: "provider_error".to_owned(), message: "it broke".to_owned() }
}

pub(crate) fn failed_at(number: u128, attempt: u32, at: DateTime<Utc>) -> SessionEvent {
    SessionEvent::TurnFailed {
        turn_id: turn_id(number),
        attempt,
        error: trouble(),
        usage: None,
        at,
    }
}

/// A session whose first turn was answered.
pub(crate) fn answered() -> Vec<SessionEvent> {
    past(&[&[created()], &asked(1, None), &[started(1, 1), completed(1, 1)]])
}

/// A session whose first turn waits for a worker.
pub(crate) fn queued() -> Vec<SessionEvent> {
    past(&[&[created()], &asked(1, None)])
}

/// A session whose first turn is being answered.
pub(crate) fn running() -> Vec<SessionEvent> {
    past(&[&queued(), &[started(1, 1)]])
}

/// A session whose first turn was interrupted, a while ago, by a second one.
pub(crate) fn interrupted_at(at: DateTime<Utc>) -> Vec<SessionEvent> {
    past(&[&running(), &[stop_asked_at(1, at)], &asked_at(2, Some(message_id(11)), at)])
}
