//! The session's events as the log holds them; see `golden/files.rs`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone, Utc};
use domain::session::{SessionEvent, TurnError};
use domain::{
    Completion, ContentPart, Cuts, FinishReason, Message, MessageId, Role, Settings, Timing,
    ToolCallDelta, TurnId, Usage,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::files::Golden;
use crate::given::{tenant, worker};

const GOLDEN: Golden = Golden("session");

fn at() -> DateTime<Utc> {
    Utc.timestamp_opt(1_767_323_045, 123_456_000).unwrap()
}

fn uuid(last: u8) -> Uuid {
    Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(last))
}

fn settings() -> Settings {
    Settings {
        model: Some("gpt-4o".to_owned()),
        system_prompt: Some("Be brief.".to_owned()),
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(256),
        stop: Some(vec!["END".to_owned()]),
        presence_penalty: Some(-0.5),
        frequency_penalty: Some(0.25),
        provider_options: json!({"seed": 7}).as_object().unwrap().clone(),
    }
}

fn metadata() -> BTreeMap<String, Value> {
    BTreeMap::from([("ticket".to_owned(), json!({"id": 7, "open": true}))])
}

/// A message with every kind of part.
fn message() -> Message {
    let content = vec![
        ContentPart::text("Grüße 👋"),
        ContentPart::Image {
            url: "https://example.org/a.png".to_owned(),
            detail: Some("low".to_owned()),
        },
        ContentPart::Audio { data: "UklGRg==".to_owned(), format: "wav".to_owned() },
        ContentPart::File {
            reference: "data:text/plain;base64,aGk=".to_owned(),
            filename: Some("hi.txt".to_owned()),
        },
        ContentPart::ToolCall {
            id: "call_1".to_owned(),
            name: "weather".to_owned(),
            arguments: "{\"city\": \"Berlin\"}".to_owned(),
        },
        ContentPart::ToolResult { tool_call_id: "call_1".to_owned(), content: json!({"c": 21}) },
        ContentPart::Reasoning { text: "Hm.".to_owned() },
    ];
    Message {
        id: MessageId(uuid(2)),
        parent_id: Some(MessageId(uuid(1))),
        role: Role::User,
        content,
        name: Some("Ada".to_owned()),
        created_at: at(),
    }
}

fn completion() -> Completion {
    let piece = ToolCallDelta {
        index: 0,
        id: Some("call_1".to_owned()),
        name: Some("weather".to_owned()),
        arguments: "{}".to_owned(),
    };
    Completion {
        message: Message {
            id: MessageId(uuid(3)),
            parent_id: Some(MessageId(uuid(2))),
            role: Role::Assistant,
            content: vec![
                ContentPart::Reasoning { text: "Hm.".to_owned() },
                ContentPart::text("Hello!"),
                ContentPart::ToolCall {
                    id: "call_1".to_owned(),
                    name: "weather".to_owned(),
                    arguments: "{}".to_owned(),
                },
            ],
            name: None,
            created_at: at(),
        },
        usage: Usage {
            prompt_tokens: 40,
            completion_tokens: 12,
            cached_tokens: 32,
            reasoning_tokens: 4,
            estimated: true,
        },
        timing: Timing { queued_ms: 3, first_delta_ms: 210, total_ms: 900 },
        cuts: Cuts {
            text: vec![2, 4],
            reasoning: vec![3],
            tool_calls: BTreeMap::from([(2, vec![piece])]),
        },
        // Written only where it says something; these files are older.
        stopped_by: None,
    }
}

/// Every variant, with every field filled.
fn all() -> Vec<SessionEvent> {
    [all_of_the_session(), all_of_the_turns()].concat()
}

fn all_of_the_session() -> Vec<SessionEvent> {
    vec![
        SessionEvent::SessionCreated {
            tenant_id: tenant(),
            user_id: "auth0|5f7c".parse().unwrap(),
            title: Some("A talk".to_owned()),
            settings: settings(),
            tags: vec!["work".to_owned()],
            metadata: metadata(),
            ephemeral: true,
            at: at(),
        },
        SessionEvent::SessionRenamed { title: Some("Another".to_owned()), at: at() },
        SessionEvent::SettingsChanged { settings: settings(), at: at() },
        SessionEvent::SessionAnnotated {
            tags: vec!["home".to_owned()],
            metadata: metadata(),
            at: at(),
        },
        SessionEvent::SessionArchived { at: at() },
        SessionEvent::SessionRestored { at: at() },
        SessionEvent::SessionDeleted { at: at() },
        SessionEvent::HistoryCleared { at: at() },
        SessionEvent::MessagesImported { messages: vec![message()], at: at() },
        SessionEvent::MessageSent { message: message() },
    ]
}

fn all_of_the_turns() -> Vec<SessionEvent> {
    let turn_id = TurnId(uuid(4));
    vec![
        SessionEvent::TurnRequested {
            turn_id,
            message_id: MessageId(uuid(2)),
            answer_id: MessageId(uuid(3)),
            settings: settings(),
            pool: "default".to_owned(),
            at: at(),
        },
        SessionEvent::AttemptStarted { turn_id, attempt: 2, worker_id: worker("host-1"), at: at() },
        SessionEvent::AttemptReleased { turn_id, attempt: 2, usage: None, at: at() },
        SessionEvent::AttemptAbandoned {
            turn_id,
            attempt: 2,
            error: TurnError { code: "worker_lost".to_owned(), message: "It was gone.".to_owned() },
            reached: 17,
            usage: completion().usage,
            at: at(),
        },
        SessionEvent::TurnCompleted {
            turn_id,
            attempt: 2,
            finish_reason: FinishReason::ToolCalls,
            completion: completion(),
            at: at(),
        },
        SessionEvent::TurnFailed {
            turn_id,
            attempt: 2,
            error: TurnError { code: "provider_error".to_owned(), message: "It broke.".to_owned() },
            usage: Some(completion().usage),
            at: at(),
        },
        SessionEvent::CancelRequested { turn_id, at: at() },
        SessionEvent::TurnCancelled {
            turn_id,
            attempt: 2,
            completion: Some(completion()),
            at: at(),
        },
    ]
}

/// How many variants there are. A new one does not compile until it is counted here, and then
/// fails until [`all`] has it.
fn number_of(event: &SessionEvent) -> usize {
    use SessionEvent as E;
    match event {
        E::SessionCreated { .. } => 0,
        E::SessionRenamed { .. } => 1,
        E::SettingsChanged { .. } => 2,
        E::SessionAnnotated { .. } => 3,
        E::SessionArchived { .. } => 4,
        E::SessionRestored { .. } => 5,
        E::SessionDeleted { .. } => 6,
        E::HistoryCleared { .. } => 7,
        E::MessagesImported { .. } => 8,
        E::MessageSent { .. } => 9,
        E::TurnRequested { .. } => 10,
        E::AttemptStarted { .. } => 11,
        E::AttemptReleased { .. } => 12,
        E::AttemptAbandoned { .. } => 13,
        E::TurnCompleted { .. } => 14,
        E::TurnFailed { .. } => 15,
        E::CancelRequested { .. } => 16,
        E::TurnCancelled { .. } => 17,
    }
}
const VARIANTS: usize = 18;

#[test]
fn every_variant_is_here() {
    let numbers: Vec<usize> = all().iter().map(number_of).collect();
    assert_eq!(numbers, (0..VARIANTS).collect::<Vec<_>>());
}

#[test]
fn what_the_log_holds_is_understood() {
    GOLDEN.are_understood(&all());
}

#[test]
fn what_is_written_has_the_shape_of_the_log() {
    GOLDEN.are_written(&all());
}

/// Fields that came later than the first version have a default; files without them decode.
#[test]
fn optional_fields_may_be_absent() {
    let mut file = GOLDEN.json(&all()[14]);
    let completion = &mut file["TurnCompleted"]["completion"];
    completion.as_object_mut().unwrap().remove("cuts");
    let usage = completion["usage"].as_object_mut().unwrap();
    usage.retain(|name, _| matches!(name.as_str(), "prompt_tokens" | "completion_tokens"));
    let read: SessionEvent = serde_json::from_value(file).unwrap();
    let SessionEvent::TurnCompleted { completion, .. } = read else { panic!("{read:?}") };
    let expected = Usage { prompt_tokens: 40, completion_tokens: 12, ..Usage::default() };
    assert_eq!((completion.usage, completion.cuts), (expected, Cuts::default()));
}

#[test]
fn no_file_is_left_over() {
    GOLDEN.are_all_of(&all());
}
