//! The window: what a model is shown, and what it never misses.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::ids::{MessageId, TenantId, UserId};
use crate::session::{SessionEvent, TurnStatus};
use crate::settings::Settings;

fn id(number: usize) -> MessageId {
    MessageId(Uuid::from_u128(number as u128))
}

fn said(role: Role, content: Vec<ContentPart>) -> Message {
    let created_at = DateTime::<Utc>::UNIX_EPOCH;
    Message { id: id(0), parent_id: None, role, content, name: None, created_at }
}

fn text(role: Role, text: &str) -> Message {
    said(role, vec![ContentPart::text(text)])
}

fn call() -> Message {
    let part = ContentPart::ToolCall {
        id: "call".to_owned(),
        name: "look_up".to_owned(),
        arguments: "{}".to_owned(),
    };
    said(Role::Assistant, vec![part])
}

fn result(role: Role) -> Message {
    let content = json!("seven");
    said(role, vec![ContentPart::ToolResult { tool_call_id: "call".to_owned(), content }])
}

/// A session with these messages in one branch, numbered from 1.
fn session(messages: Vec<Message>) -> Session {
    let mut session = Session::fold(&[SessionEvent::SessionCreated {
        tenant_id: TenantId::from_str("acme").unwrap(),
        user_id: UserId::from_str("ada").unwrap(),
        title: None,
        settings: Settings::default(),
        tags: vec![],
        metadata: std::collections::BTreeMap::new(),
        ephemeral: false,
        at: DateTime::<Utc>::UNIX_EPOCH,
    }]);
    for (number, message) in (1..).zip(messages) {
        let parent_id = (number > 1).then(|| id(number - 1));
        session.apply(&SessionEvent::MessageSent {
            message: Message { id: id(number), parent_id, ..message },
        });
    }
    session
}

fn turn(message_id: MessageId, settings: Settings) -> Turn {
    Turn {
        status: TurnStatus::Queued,
        message_id,
        answer_id: id(999),
        settings: Arc::new(settings),
        attempt: 0,
        lost: 0,
        broken_off: 0,
        worker_id: None,
        requested_at: DateTime::<Utc>::UNIX_EPOCH,
        cancel_requested_at: None,
    }
}

fn model(context: u32) -> ModelSpec {
    ModelSpec::new("m", "scripted", context, 100)
}

fn prompt_in(session: &Session, context: u32, settings: Settings) -> Prompt {
    let turn = turn(session.leaf.unwrap(), settings);
    prompt_for(session, &turn, &model(context))
}

fn numbers(prompt: &Prompt) -> Vec<u128> {
    prompt.messages.iter().map(|message| message.id.0.as_u128()).collect()
}

/// 300 bytes: 108 tokens with its frame.
fn long(role: Role) -> Message {
    text(role, &"x".repeat(300))
}

#[test]
fn everything_is_shown_while_it_fits() {
    let session = session(vec![long(Role::User), long(Role::Assistant), long(Role::User)]);
    let prompt = prompt_in(&session, 424, Settings::default());
    assert_eq!((numbers(&prompt), prompt.dropped), (vec![1, 2, 3], 0));
    // One token less, and the oldest turn goes as a whole.
    let prompt = prompt_in(&session, 423, Settings::default());
    assert_eq!((numbers(&prompt), prompt.dropped), (vec![3], 2));
}

#[test]
fn the_system_prompt_takes_its_room_and_stays() {
    let session = session(vec![long(Role::User), long(Role::Assistant), long(Role::User)]);
    let settings =
        |size: usize| Settings { system_prompt: Some("s".repeat(size)), ..Settings::default() };
    assert_eq!(prompt_in(&session, 434, settings(30)).dropped, 0);
    assert_eq!(prompt_in(&session, 434, settings(31)).dropped, 2);
    let prompt = prompt_in(&session, 434, settings(100_000));
    assert_eq!(prompt.system.unwrap().len(), 100_000);
    assert_eq!(prompt.messages.len(), 1);
}

#[test]
fn tools_take_their_room() {
    let session = session(vec![long(Role::User), long(Role::Assistant), long(Role::User)]);
    let tools = json!({"tools": ["x".repeat(100)]}).as_object().unwrap().clone();
    let settings = Settings { provider_options: tools, ..Settings::default() };
    assert_eq!(prompt_in(&session, 424, settings.clone()).dropped, 2);
    assert_eq!(prompt_in(&session, 462, settings.clone()).dropped, 0);
    assert_eq!(prompt_in(&session, 461, settings).dropped, 2);
}

#[test]
fn the_answer_keeps_its_room() {
    let session = session(vec![long(Role::User), long(Role::Assistant), long(Role::User)]);
    let asked = |max_tokens| Settings { max_tokens, ..Settings::default() };
    assert_eq!(prompt_in(&session, 424, asked(Some(100))).dropped, 0);
    assert_eq!(prompt_in(&session, 424, asked(Some(101))).dropped, 2);
    assert_eq!(prompt_in(&session, 334, asked(Some(10))).dropped, 0);
    // No more than half is kept for it.
    assert_eq!(prompt_in(&session, 648, asked(Some(5_000))).dropped, 0);
}

#[test]
fn the_newest_turn_is_shown_even_if_it_does_not_fit() {
    let session =
        session(vec![text(Role::User, "a"), text(Role::Assistant, "b"), long(Role::User)]);
    assert_eq!(numbers(&prompt_in(&session, 10, Settings::default())), [3]);
    assert_eq!(numbers(&prompt_in(&session, 0, Settings::default())), [3]);
}

#[test]
fn instructions_at_the_head_are_never_cut() {
    let session = session(vec![
        text(Role::System, "Be brief."),
        long(Role::User),
        long(Role::Assistant),
        long(Role::User),
    ]);
    let prompt = prompt_in(&session, 300, Settings::default());
    assert_eq!((numbers(&prompt), prompt.dropped), (vec![1, 4], 2));
    // They take their room like all else: 12 tokens here.
    assert_eq!(prompt_in(&session, 436, Settings::default()).dropped, 0);
    assert_eq!(prompt_in(&session, 435, Settings::default()).dropped, 2);
}

#[test]
fn instructions_on_the_way_go_with_their_turn() {
    let session = session(vec![
        long(Role::User),
        long(Role::Assistant),
        text(Role::System, "Now in French."),
        long(Role::User),
        long(Role::Assistant),
        long(Role::User),
    ]);
    assert_eq!(numbers(&prompt_in(&session, 450, Settings::default())), [3, 4, 5, 6]);
    assert_eq!(numbers(&prompt_in(&session, 425, Settings::default())), [6]);
}

#[test]
fn a_greeting_is_shown_while_it_fits() {
    let session = session(vec![text(Role::Assistant, "Welcome!"), text(Role::User, "Hi")]);
    assert_eq!(numbers(&prompt_in(&session, 1_000, Settings::default())), [1, 2]);
    assert_eq!(numbers(&prompt_in(&session, 20, Settings::default())), [2]);
}

#[test]
fn a_tool_s_result_stays_with_its_call() {
    for role in [Role::Tool, Role::User] {
        let session = session(vec![
            long(Role::User),
            long(Role::Assistant),
            long(Role::User),
            call(),
            result(role),
        ]);
        // Too little for even the newest turn, which is shown whole all the same.
        assert_eq!(numbers(&prompt_in(&session, 50, Settings::default())), [3, 4, 5]);
    }
    let session = session(vec![
        long(Role::User),
        call(),
        result(Role::Tool),
        text(Role::Assistant, "Seven."),
        text(Role::User, "Thanks"),
    ]);
    for context in 0..400 {
        let shown = numbers(&prompt_in(&session, context, Settings::default()));
        assert!(shown == [1, 2, 3, 4, 5] || shown == [5], "{context}: {shown:?}");
    }
}

/// As when the turn of a message failed: it is there, and nothing follows it but the next one.
#[test]
fn an_unanswered_message_that_is_too_long_does_not_stand_in_the_way() {
    let session = session(vec![
        text(Role::User, "hello"),
        text(Role::User, &"far too long ".repeat(1_000)),
        text(Role::User, "hi"),
    ]);
    let prompt = prompt_in(&session, 500, Settings::default());
    assert_eq!((numbers(&prompt), prompt.dropped), (vec![3], 2));
    assert!(size_of(&prompt.messages) <= 500);
    assert_eq!(numbers(&prompt_in(&session, 50_000, Settings::default())), [1, 2, 3]);
}

#[test]
fn unanswered_messages_are_shown_while_they_fit() {
    let session = session(vec![
        long(Role::User),
        long(Role::Assistant),
        text(Role::User, "And"),
        text(Role::User, "now?"),
    ]);
    assert_eq!(numbers(&prompt_in(&session, 80, Settings::default())), [3, 4]);
    assert_eq!(numbers(&prompt_in(&session, 10, Settings::default())), [4]);
}

#[test]
fn only_the_branch_is_shown() {
    let mut session = session(vec![
        text(Role::User, "a"),
        text(Role::Assistant, "b"),
        text(Role::User, "c"),
        text(Role::Assistant, "d"),
    ]);
    session.apply(&SessionEvent::MessageSent {
        message: Message { id: id(5), parent_id: Some(id(2)), ..text(Role::User, "e") },
    });
    assert_eq!(numbers(&prompt_in(&session, 1_000, Settings::default())), [1, 2, 5]);
    let older = prompt_for(&session, &turn(id(3), Settings::default()), &model(1_000));
    assert_eq!(numbers(&older), [1, 2, 3]);
}

#[test]
fn what_says_nothing_is_left_out() {
    let session = session(vec![
        text(Role::User, "a"),
        said(Role::Assistant, vec![]),
        text(Role::User, "b"),
        text(Role::Assistant, " \n"),
        text(Role::User, "c"),
    ]);
    let prompt = prompt_in(&session, 1_000, Settings::default());
    assert_eq!((numbers(&prompt), prompt.dropped), (vec![1, 3, 5], 0));
}

#[test]
fn a_loop_of_parents_ends() {
    let mut session = session(vec![text(Role::User, "a"), text(Role::Assistant, "b")]);
    let looped = Message { id: id(1), parent_id: Some(id(2)), ..text(Role::User, "a") };
    session.messages.insert(id(1), Arc::new(looped));
    let prompt = prompt_for(&session, &turn(id(1), Settings::default()), &model(1_000));
    assert!(prompt.messages.len() <= 3);
}

// ------------------------------------------------------------------ any conversation

fn any_message() -> impl Strategy<Value = Message> {
    let spoken = prop::sample::select(vec![Role::User, Role::Assistant, Role::System]);
    prop_oneof![
        8 => (spoken, 0..200_usize).prop_map(|(role, size)| text(role, &"x".repeat(size))),
        1 => Just(call()),
        1 => Just(result(Role::Tool)),
        1 => Just(result(Role::User)),
    ]
}

fn any_session() -> impl Strategy<Value = Session> {
    prop::collection::vec(any_message(), 0..30).prop_map(|mut messages| {
        messages.push(text(Role::User, "and now?"));
        session(messages)
    })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let prompt = prop::option::of(0..600_usize);
    (prompt, prop::option::of(1..200_u32)).prop_map(|(prompt, max_tokens)| Settings {
        system_prompt: prompt.map(|size| "s".repeat(size)),
        max_tokens,
        ..Settings::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_window_is_sound(session in any_session(), settings in any_settings(), context in 0..3000_u32) {
        let whole = prompt_in(&session, u32::MAX, settings.clone());
        let prompt = prompt_in(&session, context, settings.clone());
        prop_assert_eq!(&prompt.system, &settings.system_prompt);
        prop_assert_eq!(prompt.messages.last(), whole.messages.last());
        prop_assert_eq!(prompt.messages.len() + prompt.dropped, whole.messages.len());

        // The head and the tail of the branch, with one gap between them.
        let head = whole.messages.iter().take_while(|message| message.role == Role::System).count();
        let tail = head + prompt.dropped;
        let expected = [&whole.messages[..head], &whole.messages[tail..]].concat();
        prop_assert_eq!(&prompt.messages, &expected);

        // A turn is shown whole, so no result is there without its call.
        let shown = &whole.messages[tail..];
        if prompt.dropped > 0 {
            prop_assert!(asks(&shown[0]), "the window begins with a question");
        }
        if shown.iter().skip(1).enumerate().any(|(index, _)| opens_turn(shown, index + 1)) {
            let room = room_for_history(&settings, &model(context));
            prop_assert!(size_of(&prompt.messages) <= room, "more than one turn is shown, so it fits");
        }
    }

    #[test]
    fn more_room_never_shows_less(session in any_session(), settings in any_settings(), context in 0..3000_u32) {
        let less = prompt_in(&session, context, settings.clone());
        let more = prompt_in(&session, context + 1, settings);
        prop_assert!(more.messages.len() >= less.messages.len());
    }
}
