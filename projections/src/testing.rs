//! Stories to fold, for the tests of the projections.

pub(crate) mod accounts;

use chrono::{DateTime, TimeDelta, Utc};
use domain::quota::{QUOTA, QuotaEvent};
use domain::session::{SESSION, SessionEvent, TurnError, WORKER_LOST};
use domain::{
    AccountId, Completion, ContentPart, Cuts, FinishReason, Message, MessageId, Role, SessionId,
    Settings, Timing, TurnId, Usage,
};
use uuid::Uuid;

use crate::batch;
use crate::event::{Body, Event};
use crate::parked::{Parked, ParkedStreams};
use crate::projection::{Projection, Row};
use crate::rows::Rows;

pub(crate) fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

pub(crate) fn message_id(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

pub(crate) fn turn(n: u128) -> TurnId {
    TurnId(Uuid::from_u128(n))
}

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

pub(crate) fn message(id: u128, role: Role, text: &str) -> Message {
    Message {
        id: message_id(id),
        parent_id: None,
        role,
        content: vec![ContentPart::text(text)],
        name: None,
        created_at: at(1),
    }
}

pub(crate) fn completion(id: u128, text: &str) -> Completion {
    Completion {
        message: message(id, Role::Assistant, text),
        usage: Usage { prompt_tokens: 3, completion_tokens: 5, ..Usage::default() },
        timing: Timing { queued_ms: 1, first_delta_ms: 2, total_ms: 3 },
        cuts: Cuts { text: vec![2, 3], ..Cuts::default() },
        stopped_by: None,
    }
}

pub(crate) fn created(ephemeral: bool) -> SessionEvent {
    SessionEvent::SessionCreated {
        tenant_id: "acme".parse().unwrap(),
        user_id: "ann".parse().unwrap(),
        title: Some("Plans".to_owned()),
        settings: Settings { temperature: Some(0.7), ..Settings::default() },
        tags: vec!["a".to_owned()],
        metadata: [("k".to_owned(), 1.into())].into(),
        ephemeral,
        at: at(0),
    }
}

pub(crate) fn sent(id: u128, text: &str) -> SessionEvent {
    SessionEvent::MessageSent { message: message(id, Role::User, text) }
}

pub(crate) fn requested(turn_id: u128, message: u128, answer: u128) -> SessionEvent {
    SessionEvent::TurnRequested {
        turn_id: turn(turn_id),
        message_id: message_id(message),
        answer_id: message_id(answer),
        settings: Settings { model: Some("m-1".to_owned()), ..Settings::default() },
        pool: "default".to_owned(),
        at: at(2),
    }
}

pub(crate) fn started(turn_id: u128, attempt: u32) -> SessionEvent {
    let worker_id = "w".parse().unwrap();
    SessionEvent::AttemptStarted { turn_id: turn(turn_id), attempt, worker_id, at: at(3) }
}

pub(crate) fn released(turn_id: u128, attempt: u32) -> SessionEvent {
    SessionEvent::AttemptReleased { turn_id: turn(turn_id), attempt, usage: None, at: at(5) }
}

pub(crate) fn abandoned(turn_id: u128, attempt: u32) -> SessionEvent {
    let error = TurnError { code: WORKER_LOST.to_owned(), message: "it was gone".to_owned() };
    let (turn_id, usage) = (turn(turn_id), completion(0, "").usage);
    SessionEvent::AttemptAbandoned { turn_id, attempt, error, reached: 5, usage, at: at(6) }
}

pub(crate) fn completed(turn_id: u128, answer: u128, text: &str) -> SessionEvent {
    SessionEvent::TurnCompleted {
        turn_id: turn(turn_id),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: completion(answer, text),
        at: at(4),
    }
}

pub(crate) fn turn_failed(turn_id: u128) -> SessionEvent {
    let error = TurnError { code: "provider".to_owned(), message: "no answer".to_owned() };
    SessionEvent::TurnFailed { turn_id: turn(turn_id), attempt: 1, error, usage: None, at: at(4) }
}

/// An event of a session or of an account.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Session(SessionEvent),
    Account(QuotaEvent),
}

impl From<SessionEvent> for Told {
    fn from(event: SessionEvent) -> Self {
        Self::Session(event)
    }
}

impl From<QuotaEvent> for Told {
    fn from(event: QuotaEvent) -> Self {
        Self::Account(event)
    }
}

/// The events as a log from position 1, each in the session or account it names.
pub(crate) fn log<E: Into<Told>>(events: Vec<(u128, E)>) -> Vec<Event> {
    let placed = events.into_iter().zip(1..);
    placed.map(|((id, event), position)| placed_at(position, Uuid::from_u128(id), event)).collect()
}

fn placed_at(position: i64, id: Uuid, event: impl Into<Told>) -> Event {
    let (aggregate_type, name, body) = match event.into() {
        Told::Session(event) => {
            (SESSION, event.name(), Body::Session(SessionId(id), Box::new(event)))
        }
        Told::Account(event) => {
            (QUOTA, event.name(), Body::Account(AccountId(id), Box::new(event)))
        }
    };
    Event {
        position,
        id: Uuid::from_u128(1000 + u128::from(position.unsigned_abs())),
        tenant_id: "acme".to_owned(),
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: id.to_string(),
        name: name.to_owned(),
        body,
    }
}

/// The rows that `log` folds to, whether in one batch or in many: it is split at every place,
/// with only the named rows carried over, as the runner does it.
pub(crate) fn fold<P: Projection>(log: &[Event]) -> Vec<P::Row>
where
    P::Row: Clone,
{
    let whole = table::<P>(&[log]).0;
    for cut in 1..log.len() {
        let (before, after) = log.split_at(cut);
        let parts = table::<P>(&[before, after]).0;
        assert_eq!(text(&parts), text(&whole), "cut after {cut}");
    }
    let single: Vec<&[Event]> = log.chunks(1).collect();
    assert_eq!(text(&table::<P>(&single).0), text(&whole), "one by one");
    whole
}

/// Folds batch after batch onto a table in memory.
pub(crate) fn table<P: Projection>(batches: &[&[Event]]) -> (Vec<P::Row>, Vec<Parked>)
where
    P::Row: Clone,
{
    let mut table: Vec<P::Row> = Vec::new();
    let mut parked = Vec::new();
    let mut streams = ParkedStreams::new();
    for events in batches {
        let events: Vec<&Event> = events.iter().collect();
        let wanted = batch::wanted::<P>(&events, &streams);
        let loaded = table.iter().filter(|row| wanted.contains(&row.key())).cloned();
        let (changes, more) = batch::fold::<P>(Rows::loaded(loaded), &events, &streams, None);
        let gone = |id: SessionId| changes.removed.contains(&id.0);
        table.retain(|row| !row.session_id().is_some_and(gone));
        table.retain(|row| changes.rows.iter().all(|changed| changed.key() != row.key()));
        table.extend(changes.rows);
        streams.extend(more.iter().map(|event| event.stream.clone()));
        parked.extend(more);
    }
    table.sort_by_key(Row::key);
    (table, parked)
}

fn text<R: Row>(rows: &[R]) -> String {
    serde_json::to_string(rows).unwrap()
}

/// The rows that are loaded for `log`.
pub(crate) fn wanted<P: Projection>(log: &[Event]) -> Vec<Uuid> {
    let events: Vec<&Event> = log.iter().collect();
    batch::wanted::<P>(&events, &ParkedStreams::new())
}
