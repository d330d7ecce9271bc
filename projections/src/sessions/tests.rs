//! What the list of sessions shows, event by event.

use domain::Role;
use domain::session::SessionEvent;

use super::*;
use crate::testing::{
    abandoned, at, completed, completion, created, fold, log, message, released, requested, sent,
    session, started, turn, turn_failed, wanted,
};

fn row(events: Vec<SessionEvent>) -> SessionRow {
    let log = log(events.into_iter().map(|event| (1, event)).collect());
    fold::<Sessions>(&log).remove(0)
}

#[test]
fn a_turn_is_shown_while_it_runs_and_its_answer_after() {
    let running = vec![created(false), sent(10, "Hello"), requested(20, 10, 11), started(20, 1)];
    let before = row(running.clone());
    assert_eq!(before.running_turn_id(), Some(turn(20)));
    assert_eq!((before.message_count, before.last_position), (1, 3));
    let after = row([running, vec![completed(20, 11, "Good day")]].concat());
    assert_eq!(after.running_turn_id(), None);
    assert_eq!((after.message_count, after.last_position), (2, 5));
    assert_eq!(after.last_message_preview.as_deref(), Some("Good day"));
    assert_eq!((after.created_at, after.updated_at), (at(0), at(4)));
}

#[test]
fn a_turn_between_two_workers_still_runs_for_those_who_look() {
    let running = vec![created(false), sent(10, "Hello"), requested(20, 10, 11), started(20, 1)];
    for end in [released(20, 1), abandoned(20, 1)] {
        let row = row([running.clone(), vec![end]].concat());
        assert_eq!(row.running_turn_id(), Some(turn(20)));
        assert_eq!((row.updated_at, row.last_position), (at(2), 3));
    }
}

#[test]
fn the_turn_that_interrupts_another_is_the_running_one() {
    let mut events = vec![created(false), sent(10, "a"), requested(20, 10, 11), started(20, 1)];
    events.extend([
        SessionEvent::CancelRequested { turn_id: turn(20), at: at(4) },
        sent(12, "b"),
        requested(21, 12, 13),
    ]);
    assert_eq!(row(events.clone()).running_turn_id(), Some(turn(21)));
    let completion = Some(completion(11, "half"));
    let cancelled =
        SessionEvent::TurnCancelled { turn_id: turn(20), attempt: 1, completion, at: at(5) };
    events.push(cancelled);
    assert_eq!(row(events.clone()).running_turn_id(), Some(turn(21)));
    events.push(turn_failed(21));
    assert_eq!(row(events).running_turn_id(), None);
}

#[test]
fn what_is_changed_is_shown_changed() {
    let row = row(vec![
        created(false),
        SessionEvent::SessionRenamed { title: Some("a\0b".to_owned()), at: at(1) },
        SessionEvent::SessionAnnotated {
            tags: vec!["x".to_owned()],
            metadata: [].into(),
            at: at(2),
        },
        SessionEvent::SessionArchived { at: at(3) },
    ]);
    assert_eq!(row.title.as_deref(), Some("a\u{FFFD}b"));
    assert_eq!((row.tags, row.metadata.get()), (vec!["x".to_owned()], "{}"));
    assert_eq!((row.status, row.updated_at), (SessionStatus::Archived, at(3)));
    assert_eq!(row.settings.get(), r#"{"temperature":0.7}"#);
}

#[test]
fn a_cleared_history_counts_nothing() {
    let row = row(vec![created(false), sent(10, "a"), SessionEvent::HistoryCleared { at: at(5) }]);
    assert_eq!((row.message_count, row.last_message_preview), (0, None));
}

#[test]
fn imported_messages_count() {
    let messages = vec![message(1, Role::User, "x"), message(2, Role::Assistant, "y")];
    let row = row(vec![created(true), SessionEvent::MessagesImported { messages, at: at(1) }]);
    assert_eq!((row.message_count, row.last_message_preview.as_deref()), (2, Some("y")));
}

#[test]
fn a_deleted_session_has_no_row() {
    let log = log(vec![
        (1, created(false)),
        (2, created(false)),
        (1, SessionEvent::SessionDeleted { at: at(1) }),
    ]);
    let rows = fold::<Sessions>(&log);
    assert_eq!(rows.iter().map(|row| row.session_id).collect::<Vec<_>>(), [session(2)]);
}

#[test]
fn a_session_that_the_batch_makes_is_not_loaded() {
    let whole = log(vec![(1, created(true)), (1, sent(10, "a")), (2, sent(11, "b"))]);
    assert_eq!(wanted::<Sessions>(&whole), [session(2).0]);
}

#[test]
fn a_preview_is_short_and_starts_with_text() {
    let long = ContentPart::text(format!("  \n{}", "é".repeat(300)));
    assert_eq!(preview(&[long]).map(|text| text.chars().count()), Some(200));
    assert_eq!(preview(&[ContentPart::text("  ")]), None);
}
