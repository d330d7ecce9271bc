//! What stands in the history, event by event.

use domain::session::SessionEvent;

use super::*;
use crate::testing::{
    at, completed, completion, created, fold, log, message, message_id, requested, sent, started,
    turn, wanted,
};

fn ids(rows: &[MessageRow]) -> Vec<MessageId> {
    rows.iter().map(|row| row.message_id).collect()
}

#[test]
fn question_and_answer_stand_in_order() {
    let log = log(vec![
        (1, created(false)),
        (1, sent(10, "Hello")),
        (1, requested(20, 10, 11)),
        (1, started(20, 1)),
        (1, completed(20, 11, "Good day")),
    ]);
    let rows = fold::<Messages>(&log);
    assert_eq!(ids(&rows), [message_id(10), message_id(11)]);
    assert_eq!((rows[0].turn_id, rows[1].turn_id), (None, Some(turn(20))));
    assert_eq!(rows[1].finish_reason, Some(FinishReason::Stop));
    assert_eq!(rows[1].usage.map(|usage| usage.completion_tokens), Some(5));
    assert_eq!((rows[0].position, rows[1].position), (2, 5));
    assert_eq!(rows[1].parts().unwrap(), [ContentPart::text("Good day")]);
    assert!(wanted::<Messages>(&log).is_empty());
}

#[test]
fn imported_messages_keep_their_order() {
    let messages = vec![message(7, Role::User, "x"), message(5, Role::Assistant, "y")];
    let log =
        log(vec![(1, created(true)), (1, SessionEvent::MessagesImported { messages, at: at(1) })]);
    let mut rows = fold::<Messages>(&log);
    rows.sort_by_key(|row| (row.position, row.ordinal));
    assert_eq!(ids(&rows), [message_id(7), message_id(5)]);
}

#[test]
fn a_partial_answer_is_kept() {
    let completion = Some(completion(11, "half"));
    let log = log(vec![
        (1, created(false)),
        (1, sent(10, "a")),
        (1, requested(20, 10, 11)),
        (1, SessionEvent::TurnCancelled { turn_id: turn(20), attempt: 1, completion, at: at(5) }),
    ]);
    let rows = fold::<Messages>(&log);
    assert_eq!((ids(&rows)[1], rows[1].finish_reason), (message_id(11), None));
}

#[test]
fn clearing_and_deleting_remove_what_came_before_and_no_more() {
    let log = log(vec![
        (1, created(false)),
        (2, created(false)),
        (1, sent(10, "a")),
        (2, sent(12, "b")),
        (1, SessionEvent::HistoryCleared { at: at(5) }),
        (1, sent(11, "c")),
        (2, SessionEvent::SessionDeleted { at: at(6) }),
    ]);
    assert_eq!(ids(&fold::<Messages>(&log)), [message_id(11)]);
}
