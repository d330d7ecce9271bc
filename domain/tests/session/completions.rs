//! One stateless call: a session made of the client's own history, with one turn.

use std::collections::BTreeMap;

use domain::session::{CreateCompletion, NewMessage, Rejection, SessionCommand, SessionEvent};
use domain::{ContentPart, Role, Settings};

use crate::given::{
    context_without_models, created, ids, message, message_id, now, owner, requested_at, said,
    settings, tenant, when, when_in,
};

fn call() -> CreateCompletion {
    CreateCompletion {
        ids: ids(1),
        history_ids: vec![message_id(1), message_id(2)],
        settings: Settings { temperature: Some(0.5), ..Settings::default() },
        history: vec![said(Role::User, "hello"), said(Role::Assistant, "hi")],
        message: said(Role::User, "how are you?"),
    }
}

fn command(call: CreateCompletion) -> SessionCommand {
    SessionCommand::CreateCompletion(call)
}

#[test]
fn everything_comes_in_one_go() {
    let call = call();
    let settings = Settings { temperature: Some(0.5), ..settings("small") };
    let earlier = vec![
        message(message_id(1), None, &call.history[0], now()),
        message(message_id(2), Some(message_id(1)), &call.history[1], now()),
    ];
    let last = message(message_id(10), Some(message_id(2)), &call.message, now());
    when(&[], command(call)).then_expect_events(vec![
        SessionEvent::SessionCreated {
            tenant_id: tenant(),
            user_id: owner().user_id,
            title: None,
            settings: settings.clone(),
            tags: vec![],
            metadata: BTreeMap::new(),
            ephemeral: true,
            at: now(),
        },
        SessionEvent::MessagesImported { messages: earlier, at: now() },
        SessionEvent::MessageSent { message: last },
        requested_at(1, message_id(10), settings, now()),
    ]);
}

#[test]
fn a_history_has_an_end() {
    let of = |count: usize| {
        let history = vec![said(Role::User, "a"); count];
        let history_ids = (1..=count as u128).map(message_id).collect();
        when(&[], command(CreateCompletion { history, history_ids, ..call() })).inspect_result()
    };
    assert!(of(10_000).is_ok());
    let error = Rejection::TooMany { what: "messages", limit: "10000 earlier ones" };
    assert_eq!(of(10_001), Err(error));
}

#[test]
fn without_history_nothing_is_imported() {
    let first = CreateCompletion { history: vec![], history_ids: vec![], ..call() };
    let events = when(&[], command(first)).inspect_result().unwrap();
    let names: Vec<_> = events.iter().map(SessionEvent::name).collect();
    assert_eq!(names, ["SessionCreated", "MessageSent", "TurnRequested"]);
}

#[test]
fn an_earlier_message_may_be_empty_but_not_too_large() {
    let nothing = NewMessage { role: Role::Assistant, content: vec![], name: None };
    let call = |earlier| CreateCompletion {
        history: vec![earlier],
        history_ids: vec![message_id(1)],
        ..call()
    };
    assert!(when(&[], command(call(nothing))).inspect_result().is_ok());
    let large = said(Role::User, &"x".repeat(1024 * 1024 + 1));
    let error = when(&[], command(call(large))).inspect_result().unwrap_err();
    assert_eq!(error.code(), "message_too_large");
    let odd = said(Role::Tool, "7");
    let error = when(&[], command(call(odd))).inspect_result().unwrap_err();
    assert_eq!(error.code(), "invalid_content");
}

#[test]
fn no_earlier_message_is_lost_for_want_of_an_id() {
    let short = CreateCompletion { history_ids: vec![message_id(1)], ..call() };
    let error = when(&[], command(short)).inspect_result().unwrap_err();
    assert_eq!(error.code(), "invalid_content");
}

#[test]
fn the_last_message_must_say_something() {
    let silent = CreateCompletion { message: said(Role::User, ""), ..call() };
    when(&[], command(silent)).then_expect_error(Rejection::EmptyMessage);
    let blank = NewMessage { content: vec![ContentPart::text(" ")], ..said(Role::User, "") };
    let silent = CreateCompletion { message: blank, ..call() };
    when(&[], command(silent)).then_expect_error(Rejection::EmptyMessage);
}

#[test]
fn its_settings_are_those_of_a_turn() {
    let with = |settings| command(CreateCompletion { settings, ..call() });
    when(&[], with(settings("huge"))).then_expect_error(Rejection::UnknownModel("huge".to_owned()));
    let long = Settings { max_tokens: Some(1001), ..Settings::default() };
    let error = when(&[], with(long)).inspect_result().unwrap_err();
    assert_eq!(error.code(), "max_tokens_too_large");
    when_in(context_without_models(), &[], command(call())).then_expect_error(Rejection::NoModel);
}

#[test]
fn it_needs_a_session_of_its_own() {
    when(&[created()], command(call())).then_expect_error(Rejection::SessionExists);
}
