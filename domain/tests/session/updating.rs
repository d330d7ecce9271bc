//! Renaming, settings, tags, the archive, clearing, deleting.

use std::collections::BTreeMap;

use domain::Settings;
use domain::session::{Rejection, SessionCommand, SessionEvent, UpdateSession};
use serde_json::json;

use crate::given::{
    answered, archived, cancelled_at, created, deleted, interrupted_at, now, past, patch, queued,
    running, send, settings, then, turn_id, when,
};

fn update(update: UpdateSession) -> SessionCommand {
    SessionCommand::UpdateSession(update)
}

fn archive(archived: bool) -> SessionCommand {
    update(UpdateSession { archived: Some(archived), ..UpdateSession::default() })
}

#[test]
fn every_change_is_an_event_of_its_own() {
    let metadata = BTreeMap::from([("ticket".to_owned(), json!(7))]);
    let command = UpdateSession {
        title: Some(Some("Another".to_owned())),
        settings: Some(patch(r#"{"model": "large", "temperature": 0.5}"#)),
        tags: Some(vec!["home".to_owned()]),
        metadata: Some(metadata.clone()),
        archived: Some(true),
    };
    let settings = Settings { temperature: Some(0.5), ..settings("large") };
    when(&[created()], update(command)).then_expect_events(vec![
        SessionEvent::SessionRenamed { title: Some("Another".to_owned()), at: now() },
        SessionEvent::SettingsChanged { settings, at: now() },
        SessionEvent::SessionAnnotated { tags: vec!["home".to_owned()], metadata, at: now() },
        SessionEvent::SessionArchived { at: now() },
    ]);
}

#[test]
fn what_is_already_so_makes_no_event() {
    let same = UpdateSession {
        title: Some(Some("A talk".to_owned())),
        settings: Some(patch(r#"{"temperature": null}"#)),
        tags: Some(vec!["work".to_owned()]),
        metadata: Some(BTreeMap::new()),
        archived: Some(false),
    };
    when(&[created()], update(same)).then_expect_events(vec![]);
    when(&[created()], update(UpdateSession::default())).then_expect_events(vec![]);
    when(&[created(), archived()], archive(true)).then_expect_events(vec![]);
}

#[test]
fn a_title_can_be_removed() {
    let untitled = UpdateSession { title: Some(None), ..UpdateSession::default() };
    let expected = SessionEvent::SessionRenamed { title: None, at: now() };
    when(&[created()], update(untitled)).then_expect_events(vec![expected]);
}

#[test]
fn tags_and_metadata_change_apart() {
    let tags = UpdateSession { tags: Some(vec![]), ..UpdateSession::default() };
    let metadata = BTreeMap::from([("a".to_owned(), json!(1))]);
    let given = SessionEvent::SessionAnnotated {
        tags: vec!["work".to_owned()],
        metadata: metadata.clone(),
        at: then(),
    };
    let expected = SessionEvent::SessionAnnotated { tags: vec![], metadata, at: now() };
    when(&[created(), given], update(tags)).then_expect_events(vec![expected]);
}

#[test]
fn a_bad_change_changes_nothing() {
    let good = UpdateSession { title: Some(Some("B".to_owned())), ..UpdateSession::default() };
    let large = BTreeMap::from([("k".to_owned(), json!("x".repeat(20_000)))]);
    for (bad, code) in [
        (UpdateSession { title: Some(Some("x".repeat(201))), ..good.clone() }, "too_many"),
        (UpdateSession { tags: Some(vec!["x".repeat(65)]), ..good.clone() }, "too_many"),
        (UpdateSession { metadata: Some(large), ..good.clone() }, "too_many"),
        (
            UpdateSession { settings: Some(patch(r#"{"model": "huge"}"#)), ..good.clone() },
            "model_not_found",
        ),
        (
            UpdateSession { settings: Some(patch(r#"{"top_p": 2}"#)), ..good.clone() },
            "invalid_setting",
        ),
    ] {
        let error = when(&[created()], update(bad)).inspect_result().unwrap_err();
        assert_eq!(error.code(), code);
    }
}

#[test]
fn an_archived_session_takes_no_turns_until_it_is_restored() {
    let given = past(&[&answered(), &[archived()]]);
    when(&given, send(2)).then_expect_error(Rejection::SessionArchived);
    let restored = SessionEvent::SessionRestored { at: now() };
    when(&given, archive(false)).then_expect_events(vec![restored.clone()]);
    let given = past(&[&given, &[restored]]);
    assert!(when(&given, send(2)).inspect_result().is_ok());
}

#[test]
fn a_busy_session_is_neither_archived_nor_cleared() {
    for given in [queued(), running()] {
        let busy = Rejection::TurnInProgress(turn_id(1));
        when(&given, archive(true)).then_expect_error(busy.clone());
        when(&given, SessionCommand::ClearHistory).then_expect_error(busy);
        // But it is renamed.
        let name = UpdateSession { title: Some(Some("B".to_owned())), ..UpdateSession::default() };
        assert!(when(&given, update(name)).inspect_result().is_ok());
    }
}

#[test]
fn clearing_forgets_the_messages_once() {
    let cleared = SessionEvent::HistoryCleared { at: now() };
    when(&answered(), SessionCommand::ClearHistory).then_expect_events(vec![cleared.clone()]);
    let given = past(&[&answered(), &[cleared]]);
    when(&given, SessionCommand::ClearHistory).then_expect_events(vec![]);
    when(&[created()], SessionCommand::ClearHistory).then_expect_events(vec![]);
}

#[test]
fn a_cleared_session_begins_anew() {
    let given = past(&[&answered(), &[SessionEvent::HistoryCleared { at: then() }]]);
    let events = when(&given, send(2)).inspect_result().unwrap();
    let SessionEvent::MessageSent { message } = &events[0] else { panic!("{events:?}") };
    assert_eq!(message.parent_id, None);
}

#[test]
fn deleting_ends_every_turn() {
    let gone = SessionEvent::SessionDeleted { at: now() };
    let delete = || SessionCommand::DeleteSession;
    when(&answered(), delete()).then_expect_events(vec![gone.clone()]);
    when(&queued(), delete())
        .then_expect_events(vec![cancelled_at(1, 0, None, now()), gone.clone()]);
    when(&running(), delete())
        .then_expect_events(vec![cancelled_at(1, 1, None, now()), gone.clone()]);
    when(&interrupted_at(then()), delete()).then_expect_events(vec![
        cancelled_at(1, 1, None, now()),
        cancelled_at(2, 0, None, now()),
        gone.clone(),
    ]);
    when(&[created(), archived()], delete()).then_expect_events(vec![gone]);
}

#[test]
fn a_deleted_session_is_gone() {
    let given = [created(), deleted()];
    when(&given, SessionCommand::DeleteSession).then_expect_events(vec![]);
    for command in [
        SessionCommand::SendMessage(send(1)),
        archive(false),
        SessionCommand::ClearHistory,
        update(UpdateSession::default()),
    ] {
        when(&given, command).then_expect_error(Rejection::SessionNotFound);
    }
}
