//! postgres-es reads our streams, and what it folds is what we fold.

use std::collections::BTreeMap;
use std::sync::Arc;

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateContext as _, EventStore as _};
use domain::session::{
    AttemptLimits, Context, CreateSession, NewMessage, OnBusy, SESSION, SendMessage, Session,
    SessionCommand, SessionEvent, TurnIds, decide,
};
use domain::{
    Actor, ActorRole, Completion, ContentPart, Cuts, FinishReason, Message, MessageId, ModelSpec,
    Models, Role, Settings, SettingsPatch, Timing, TurnId, Usage,
};
use eventstore::{NewEvent, StoreError, StreamAppend};
use postgres_es::PostgresEventRepository;

use crate::support::{command, database, new_id, store};

#[tokio::test]
async fn postgres_es_loads_what_we_appended() {
    let store = store(&database().await);
    let id = new_id().to_string();
    let events = a_conversation();
    let (opening, rest) = events.split_at(1);
    store.append(command(vec![stream_of(&id, 0, opening)])).await.unwrap();
    store.append(command(vec![stream_of(&id, 1, rest)])).await.unwrap();

    let repository = PostgresEventRepository::new((**store.pool()).clone());
    let theirs = PersistedEventStore::<_, Session>::new_event_store(repository);
    let mut context = theirs.load_aggregate(&id).await.unwrap();
    let ours = Session::fold(&events);
    assert_eq!(*context.aggregate(), ours);
    assert_eq!(context.current_sequence, events.len());
    let envelopes = theirs.load_events(&id).await.unwrap();
    let theirs: Vec<_> = envelopes.into_iter().map(|envelope| envelope.payload).collect();
    assert_eq!(theirs, events);

    // Our own ways of loading: whole, and from any version on.
    for after in 0..=events.len() {
        let version = i64::try_from(after).unwrap();
        let tail = store.load::<Session>(&id, version).await.unwrap();
        let sequences: Vec<_> = tail.iter().map(|loaded| loaded.sequence).collect();
        let all = 1..=i64::try_from(events.len()).unwrap();
        assert_eq!(sequences, all.skip(after).collect::<Vec<_>>());
        let tail: Vec<_> = tail.into_iter().map(|loaded| loaded.event).collect();
        assert_eq!(tail, events[after..]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_the_end() {
    let store = store(&database().await);
    let id = new_id().to_string();
    let mut stream = stream_of(&id, 0, &a_conversation());
    stream.events[2].payload = r#"{"Gone":{}}"#.into();
    store.append(command(vec![stream])).await.unwrap();
    for after in [0, 1] {
        let loaded = store.load::<Session>(&id, after).await;
        assert!(matches!(loaded, Err(StoreError::Undecodable { sequence: 3, .. })), "{loaded:?}");
    }
    // Nor is trouble of the database.
    let hide = "ALTER TABLE events RENAME COLUMN payload TO hidden";
    sqlx::query(hide).execute(store.pool()).await.unwrap();
    for after in [0, 3] {
        let loaded = store.load::<Session>(&id, after).await;
        assert!(matches!(loaded, Err(StoreError::Database { .. })), "{loaded:?}");
    }
    assert!(store.read_stream(SESSION, &id, 0, 9).await.is_err());
    assert!(store.read_after(0, 9).await.is_err());
}

fn stream_of(id: &str, expected: i64, events: &[SessionEvent]) -> StreamAppend {
    let new_event = |event: &SessionEvent| NewEvent {
        event_id: new_id(),
        event_type: event.name(),
        event_version: cqrs_es::DomainEvent::event_version(event),
        payload: serde_json::to_string(event).unwrap().into(),
        metadata: "{}".into(),
    };
    StreamAppend {
        aggregate_type: SESSION,
        aggregate_id: id.to_owned(),
        expected_version: expected,
        events: events.iter().map(new_event).collect(),
    }
}

/// The events of a session with one finished turn and one that failed.
fn a_conversation() -> Vec<SessionEvent> {
    let mut session = Session::default();
    let mut events = Vec::new();
    let mut carry_out = |command: SessionCommand, role: ActorRole| {
        for event in decide(&session, &command, &context(role)).unwrap() {
            session.apply(&event);
            events.push(event);
        }
    };
    let metadata =
        BTreeMap::from([("nested".to_owned(), serde_json::json!({"a": [1, 2.5, null]}))]);
    let title = Some("Grüße \"and\" \\ 🙂".to_owned());
    let create = CreateSession { title, metadata, ..CreateSession::default() };
    carry_out(SessionCommand::CreateSession(create), ActorRole::User);
    for finished in [true, false] {
        let ids = TurnIds {
            turn_id: TurnId(new_id()),
            message_id: MessageId(new_id()),
            answer_id: MessageId(new_id()),
        };
        carry_out(send(ids), ActorRole::User);
        let turn_id = ids.turn_id;
        let worker_id = "worker-1".parse().unwrap();
        let start = SessionCommand::StartAttempt { turn_id, worker_id, lost: None };
        carry_out(start, ActorRole::System);
        let end = if finished { complete(ids) } else { fail(ids) };
        carry_out(end, ActorRole::System);
    }
    events
}

fn context(role: ActorRole) -> Context {
    let model = ModelSpec::new("m", "p", 8192, 512);
    Context {
        now: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
        actor: Actor { tenant_id: "acme".parse().unwrap(), user_id: "ann".parse().unwrap(), role },
        models: Arc::new(Models::new(vec![model])),
        attempts: AttemptLimits::default(),
    }
}

fn send(ids: TurnIds) -> SessionCommand {
    SessionCommand::SendMessage(SendMessage {
        ids,
        message: NewMessage {
            role: Role::User,
            content: vec![ContentPart::text("line\nbreak\u{0}\t\"quoted\"".replace('\0', " "))],
            name: None,
        },
        parent_id: None,
        settings: SettingsPatch::default(),
        on_busy: OnBusy::Refuse,
    })
}

fn completion(ids: TurnIds) -> Completion {
    let message = Message {
        id: ids.answer_id,
        parent_id: Some(ids.message_id),
        role: Role::Assistant,
        content: vec![ContentPart::text("an answer")],
        name: None,
        created_at: "2026-01-02T03:04:06Z".parse().unwrap(),
    };
    Completion {
        message,
        usage: Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() },
        timing: Timing::default(),
        cuts: Cuts { text: vec![2, 7], ..Cuts::default() },
        stopped_by: None,
    }
}

fn complete(ids: TurnIds) -> SessionCommand {
    SessionCommand::CompleteTurn {
        turn_id: ids.turn_id,
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: completion(ids),
    }
}

fn fail(ids: TurnIds) -> SessionCommand {
    let error = domain::session::TurnError {
        code: "provider_unavailable".to_owned(),
        message: "the provider is away".to_owned(),
    };
    let (turn_id, partial) = (ids.turn_id, completion(ids));
    SessionCommand::FailTurn { turn_id, attempt: 1, error, usage: None, partial }
}

#[test]
fn settings_survive_the_trip() {
    let text = r#"{"model":"m","temperature":0.1,"provider_options":{"seed":1}}"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&settings).unwrap(), text);
}
