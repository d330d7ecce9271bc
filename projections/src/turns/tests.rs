//! How turns go, event by event.

use domain::session::SessionEvent;

use super::*;
use crate::testing::{
    at, completed, created, fold, log, released, requested, sent, started, turn, turn_failed,
    wanted,
};

fn asked() -> Vec<(u128, SessionEvent)> {
    vec![(1, created(false)), (1, sent(10, "a")), (1, requested(20, 10, 11))]
}

fn after(events: Vec<SessionEvent>) -> TurnRow {
    let events = asked().into_iter().chain(events.into_iter().map(|event| (1, event)));
    fold::<Turns>(&log(events.collect())).remove(0)
}

#[test]
fn a_turn_is_queued_then_runs_then_is_complete() {
    let queued = after(vec![]);
    assert_eq!((queued.status, queued.attempt), (TurnStatus::Queued, 0));
    assert_eq!((queued.model.as_deref(), queued.pool.as_str()), (Some("m-1"), "default"));
    let running = after(vec![started(20, 1)]);
    assert_eq!((running.status, running.started_at), (TurnStatus::Running, Some(at(3))));
    let complete = after(vec![started(20, 1), completed(20, 11, "hello")]);
    assert_eq!((complete.status, complete.ended_at), (TurnStatus::Completed, Some(at(4))));
    assert_eq!(complete.finish_reason, Some(FinishReason::Stop));
    assert_eq!(complete.cuts.map(|cuts| cuts.text), Some(vec![2, 3]));
    assert_eq!((complete.requested_position, complete.last_position), (3, 5));
}

#[test]
fn a_turn_given_back_is_queued_again() {
    let row = after(vec![started(20, 1), released(20, 1)]);
    assert_eq!((row.status, row.attempt, row.worker_id), (TurnStatus::Queued, 1, None));
    assert_eq!((row.requested_at, row.queued_at), (at(2), at(5)));
    assert_eq!((row.ended_at, row.last_position), (None, 5));
    let again = after(vec![started(20, 1), released(20, 1), started(20, 2)]);
    assert_eq!((again.status, again.attempt), (TurnStatus::Running, 2));
    assert_eq!(again.worker_id.as_ref().map(WorkerId::as_str), Some("w"));
}

#[test]
fn a_failure_tells_why() {
    let row = after(vec![started(20, 1), turn_failed(20)]);
    assert_eq!(row.status, TurnStatus::Failed);
    assert_eq!(row.error.map(|error| error.code).as_deref(), Some("provider"));
}

#[test]
fn a_queued_turn_is_cancelled_without_an_answer() {
    let turn_id = turn(20);
    let row = after(vec![
        SessionEvent::CancelRequested { turn_id, at: at(4) },
        SessionEvent::TurnCancelled { turn_id, attempt: 0, completion: None, at: at(4) },
    ]);
    assert_eq!((row.status, row.usage), (TurnStatus::Cancelled, None));
    assert_eq!(row.cancel_requested_at, Some(at(4)));
}

#[test]
fn a_cleared_history_leaves_the_turns_and_a_deletion_does_not() {
    let cleared = SessionEvent::HistoryCleared { at: at(9) };
    assert_eq!(after(vec![turn_failed(20), cleared]).status, TurnStatus::Failed);
    let mut events = asked();
    events.push((1, turn_failed(20)));
    events.push((1, SessionEvent::SessionDeleted { at: at(9) }));
    assert!(fold::<Turns>(&log(events)).is_empty());
}

#[test]
fn only_turns_of_earlier_batches_are_loaded() {
    let mut events = asked();
    events.push((1, started(20, 1)));
    events.push((2, started(30, 2)));
    assert_eq!(wanted::<Turns>(&log(events)), [turn(30).0]);
}
