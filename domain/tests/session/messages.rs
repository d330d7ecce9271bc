//! Sending a message: what it may hold, where it stands.

use domain::session::{NewMessage, Rejection, SendMessage, SessionEvent};
use domain::{ContentPart, MessageId, Role};
use serde_json::json;

use crate::given::{
    answered, created, failed_at, ids, message, message_id, now, past, queued, requested_at, said,
    send, settings, started, then, when,
};

fn with(role: Role, content: Vec<ContentPart>) -> SendMessage {
    SendMessage { message: NewMessage { role, content, name: None }, ..send(1) }
}

fn parent_of(given: &[SessionEvent], command: SendMessage) -> Option<MessageId> {
    let events = when(given, command).inspect_result().unwrap();
    events
        .iter()
        .find_map(|event| match event {
            SessionEvent::MessageSent { message } => Some(message.parent_id),
            _ => None,
        })
        .unwrap()
}

fn result(text: &str) -> ContentPart {
    ContentPart::ToolResult { tool_call_id: "call".to_owned(), content: json!(text) }
}

fn call() -> ContentPart {
    ContentPart::ToolCall {
        id: "call".to_owned(),
        name: "look_up".to_owned(),
        arguments: "{}".to_owned(),
    }
}

#[test]
fn a_message_and_its_turn_come_together() {
    let mut command = send(1);
    command.message.name = Some("Ada".to_owned());
    let expected = message(ids(1).message_id, None, &command.message, now());
    when(&[created()], command).then_expect_events(vec![
        SessionEvent::MessageSent { message: expected },
        requested_at(1, message_id(10), settings("small"), now()),
    ]);
}

#[test]
fn a_message_follows_the_newest_one() {
    assert_eq!(parent_of(&[created()], send(1)), None);
    assert_eq!(parent_of(&answered(), send(2)), Some(message_id(11)));
    // A turn that failed has left only its question.
    let failed = past(&[&queued(), &[started(1, 1), failed_at(1, 1, then())]]);
    assert_eq!(parent_of(&failed, send(2)), Some(message_id(10)));
}

#[test]
fn a_message_may_branch_off_anywhere() {
    let edit = SendMessage { parent_id: Some(message_id(10)), ..send(2) };
    assert_eq!(parent_of(&answered(), edit), Some(message_id(10)));
    let nowhere = SendMessage { parent_id: Some(message_id(99)), ..send(2) };
    when(&answered(), nowhere).then_expect_error(Rejection::ParentNotFound);
}

#[test]
fn a_branch_goes_on_where_it_branched() {
    let edit = SendMessage { parent_id: Some(message_id(10)), ..send(2) };
    let events = when(&answered(), edit).inspect_result().unwrap();
    let given = past(&[&answered(), &events, &[failed_at(2, 1, then())]]);
    assert_eq!(parent_of(&given, send(3)), Some(message_id(20)));
}

#[test]
fn a_message_says_something() {
    let image = |url: &str| ContentPart::Image { url: url.to_owned(), detail: None };
    for blank in [
        vec![],
        vec![ContentPart::text("")],
        vec![ContentPart::text(" \n\t"), ContentPart::text("")],
        vec![image("")],
    ] {
        let command = with(Role::User, blank);
        when(&[created()], command).then_expect_error(Rejection::EmptyMessage);
    }
    let content = vec![ContentPart::text(""), image("https://x.example/a.png")];
    assert!(when(&[created()], with(Role::User, content)).inspect_result().is_ok());
}

#[test]
fn a_message_has_a_size() {
    let limit = 1024 * 1024;
    let full = vec![ContentPart::text("x".repeat(limit))];
    assert!(when(&[created()], with(Role::User, full.clone())).inspect_result().is_ok());
    let over = [full, vec![ContentPart::text("y")]].concat();
    let error = Rejection::MessageTooLarge { size: limit + 1, limit };
    when(&[created()], with(Role::User, over)).then_expect_error(error);
    let parts = vec![ContentPart::text("x"); 65];
    let error = when(&[created()], with(Role::User, parts)).inspect_result().unwrap_err();
    assert_eq!(error.code(), "too_many");
}

#[test]
fn a_speaker_s_name_has_a_length() {
    let named = |name: String| SendMessage {
        message: NewMessage { name: Some(name), ..said(Role::User, "hi") },
        ..send(2)
    };
    assert!(when(&[created()], named("é".repeat(128))).inspect_result().is_ok());
    let error = Rejection::TooMany { what: "name", limit: "128 characters" };
    when(&[created()], named("é".repeat(129))).then_expect_error(error);
}

#[test]
fn parts_fit_their_speaker() {
    let text = || ContentPart::text("hi");
    let thought = ContentPart::Reasoning { text: "hm".to_owned() };
    for (role, content) in [
        (Role::Tool, vec![text()]),
        (Role::Tool, vec![result("7"), text()]),
        (Role::User, vec![text(), call()]),
        (Role::User, vec![thought]),
        (Role::System, vec![call()]),
        (Role::Assistant, vec![result("7")]),
    ] {
        let command = with(role, content.clone());
        let error = when(&[created()], command).inspect_result().unwrap_err();
        assert_eq!((error.code(), error.field()), ("invalid_content", Some("content")));
    }
    for (role, content) in [
        (Role::Tool, vec![result("7"), result("8")]),
        (Role::User, vec![result("7"), text()]),
        (Role::Assistant, vec![text(), call()]),
        (Role::System, vec![text()]),
    ] {
        let given = [created(), tool_called()];
        assert!(when(&given, with(role, content)).inspect_result().is_ok());
    }
}

/// The assistant, in messages the client kept, called a tool.
fn tool_called() -> SessionEvent {
    let said = NewMessage { role: Role::Assistant, content: vec![call()], name: None };
    let messages = vec![message(message_id(900), None, &said, then())];
    SessionEvent::MessagesImported { messages, at: then() }
}

#[test]
fn a_tool_s_result_names_a_call() {
    let other = ContentPart::ToolResult { tool_call_id: "other".to_owned(), content: json!(1) };
    for given in [vec![created()], vec![created(), tool_called()]] {
        let command = with(Role::Tool, vec![other.clone()]);
        let error = when(&given, command).inspect_result().unwrap_err();
        assert_eq!((error.code(), error.field()), ("invalid_content", Some("content")));
    }
}
