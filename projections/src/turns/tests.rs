//! How turns go, event by event.

use domain::quota::Level;
use domain::session::SessionEvent;

use super::*;
use crate::testing::accounts::{consumed, credits, crossed, reserved};
use crate::testing::{
    Told, abandoned, at, completed, completion, created, fold, log, released, requested, sent,
    started, table, turn, turn_failed, wanted,
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
fn a_turn_whose_worker_was_lost_is_queued_again_and_tells_what_that_cost() {
    let row = after(vec![started(20, 1), abandoned(20, 1)]);
    assert_eq!((row.status, row.attempt, row.worker_id), (TurnStatus::Queued, 1, None));
    assert_eq!((row.requested_at, row.queued_at), (at(2), at(6)));
    assert_eq!((row.ended_at, row.usage, row.last_position), (None, None, 5));
    let lost = |attempt| AbandonedAttempt {
        attempt,
        code: "worker_lost".to_owned(),
        usage: completion(11, "").usage,
        at: at(6),
    };
    assert_eq!(row.abandoned, [lost(1)]);
    let again = [abandoned(20, 1), started(20, 2), abandoned(20, 2), started(20, 3)];
    let row = after([vec![started(20, 1)], again.to_vec()].concat());
    assert_eq!((row.status, row.attempt), (TurnStatus::Running, 3));
    assert_eq!(row.worker_id.as_ref().map(WorkerId::as_str), Some("w"));
    assert_eq!(row.abandoned, [lost(1), lost(2)]);
}

/// As logs of before there was a word for it have it.
#[test]
fn a_turn_may_be_taken_over_without_a_word() {
    let row = after(vec![started(20, 1), started(20, 2)]);
    assert_eq!((row.status, row.attempt), (TurnStatus::Running, 2));
    assert!(row.abandoned.is_empty());
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

fn told(events: Vec<(u128, Told)>) -> Vec<TurnRow> {
    let session = asked().into_iter().map(|(id, event)| (id, event.into()));
    fold::<Turns>(&log(session.chain(events).collect()))
}

fn settlement() -> Vec<(u128, Told)> {
    vec![
        (50, reserved(20, 300).into()),
        (1, started(20, 1).into()),
        (50, consumed(20, "0.25", at(4)).into()),
        (50, crossed(Some(turn(20))).into()),
        (1, completed(20, 11, "hello").into()),
    ]
}

#[test]
fn the_settlement_tells_what_a_turn_cost() {
    let row = told(settlement()).remove(0);
    assert_eq!(row.credits, Some(credits("0.25")));
    let warnings: Vec<_> = row.quota_warnings.iter().map(|warning| warning.level).collect();
    assert_eq!(warnings, [Level::Warning]);
    assert_eq!((row.status, row.last_position), (TurnStatus::Completed, 8));
}

#[test]
fn what_cut_an_answer_short_is_told() {
    let turn_id = turn(20);
    let mut completion = completion(11, "half");
    completion.stopped_by = Some("insufficient_quota".to_owned());
    let completed = SessionEvent::TurnCompleted {
        turn_id,
        attempt: 1,
        finish_reason: FinishReason::Length,
        completion,
        at: at(4),
    };
    let row = after(vec![started(20, 1), completed]);
    assert_eq!(row.stopped_by.as_deref(), Some("insufficient_quota"));
}

#[test]
fn the_settlement_of_a_deleted_session_s_turn_is_ignored() {
    let mut events = vec![(1, SessionEvent::SessionDeleted { at: at(3) }.into())];
    events.extend(settlement().into_iter().filter(|(id, _)| *id == 50));
    events.push((50, consumed(99, "1", at(5)).into()));
    let session = asked().into_iter().map(|(id, event)| (id, event.into()));
    let log = log(session.chain(events).collect::<Vec<(u128, Told)>>());
    assert!(fold::<Turns>(&log).is_empty());
    assert!(table::<Turns>(&[&log]).1.is_empty());
}

#[test]
fn nobody_else_can_say_what_a_turn_cost() {
    let mut claimed = consumed(20, "9", at(4));
    if let QuotaEvent::QuotaConsumed { reservation_id, .. } = &mut claimed {
        *reservation_id = None;
    }
    assert_eq!(told(vec![(50, claimed.into())])[0].credits, None);
    let session = asked().into_iter().map(|(id, event)| (id, Told::from(event)));
    let foreign = (50, Told::from(consumed(20, "9", at(4))));
    let mut log = log(session.chain([foreign]).collect());
    log[3].tenant_id = "umbrella".to_owned();
    assert_eq!(fold::<Turns>(&log)[0].credits, None);
}
