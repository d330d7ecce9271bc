//! Stopping a turn, and what a stopped turn leaves behind.

use chrono::TimeDelta;
use domain::session::{Rejection, SessionEvent};

use crate::given::{
    abandon, answer, answered, broken_off, cancel, cancelled_at, completed, confirm, empty_answer,
    fail, interrupted_at, message_id, now, past, queued, requested_at, running, settings, start,
    started, started_at, stop_asked, stop_asked_at, take_over, then, untold, when, when_worker,
};

fn stopping() -> Vec<SessionEvent> {
    past(&[&running(), &[stop_asked(1)]])
}

#[test]
fn a_queued_turn_ends_at_once() {
    let ended = vec![stop_asked_at(1, now()), cancelled_at(1, 0, None, now())];
    when(&queued(), cancel(1)).then_expect_events(ended);
}

#[test]
fn a_running_turn_is_asked_once() {
    when(&running(), cancel(1)).then_expect_events(vec![stop_asked_at(1, now())]);
    when(&stopping(), cancel(1)).then_expect_events(vec![]);
}

#[test]
fn an_ended_turn_stays_as_it_is() {
    when(&answered(), cancel(1)).then_expect_events(vec![]);
    when(&answered(), cancel(9)).then_expect_error(Rejection::TurnNotFound);
}

#[test]
fn the_worker_says_how_far_it_came() {
    let partial = answer(1, "hi");
    when_worker(&stopping(), confirm(1, 1)).then_expect_events(vec![cancelled_at(
        1,
        1,
        partial,
        now(),
    )]);
}

/// The answer was finished before the worker heard of the wish.
#[test]
fn a_finished_answer_wins() {
    let events = when_worker(&stopping(), crate::given::complete(1, 1)).inspect_result().unwrap();
    assert_eq!(events[0].name(), "TurnCompleted");
}

#[test]
fn a_stopping_turn_that_fails_has_stopped_with_what_was_said() {
    when_worker(&stopping(), fail(1, 1, None)).then_expect_events(vec![cancelled_at(
        1,
        1,
        answer(1, "so f"),
        now(),
    )]);
}

#[test]
fn a_stopping_turn_is_not_started_again() {
    for text in ["so f", ""] {
        let ended = cancelled_at(1, 1, answer(1, text), now());
        when_worker(&stopping(), take_over(1, 1, text)).then_expect_events(vec![ended]);
    }
    when_worker(&stopping(), start(1)).then_expect_error(Rejection::AttemptSuperseded);
    when_worker(&stopping(), take_over(1, 2, "so f"))
        .then_expect_error(Rejection::AttemptSuperseded);
}

#[test]
fn a_stopping_turn_that_is_broken_off_has_stopped_with_what_was_said() {
    let ended = cancelled_at(1, 1, answer(1, "so f"), now());
    when_worker(&stopping(), abandon(1, 1, "so f")).then_expect_events(vec![ended]);
    let last = past(&[&running(), &[broken_off(1, 1, ""), started(1, 2), stop_asked(1)]]);
    let ended = cancelled_at(1, 2, answer(1, "so f"), now());
    when_worker(&last, abandon(1, 2, "so f")).then_expect_events(vec![ended]);
}

#[test]
fn a_turn_between_two_attempts_ends_at_once() {
    let waiting = past(&[&running(), &[broken_off(1, 1, "so f")]]);
    let ended = vec![stop_asked_at(1, now()), cancelled_at(1, 1, None, now())];
    when(&waiting, cancel(1)).then_expect_events(ended);
}

#[test]
fn the_next_turn_waits_for_the_one_it_interrupted() {
    let just_now = interrupted_at(now() - TimeDelta::milliseconds(4_999));
    when_worker(&just_now, start(2)).then_expect_error(Rejection::EarlierTurnStopping);
    let stopped = past(&[&just_now, &[cancelled_at(1, 1, answer(1, "hi"), then())]]);
    when_worker(&stopped, start(2)).then_expect_events(vec![started_at(2, 1, now())]);
    let ended = past(&[&just_now, &[completed(1, 1)]]);
    when_worker(&ended, start(2)).then_expect_events(vec![started_at(2, 1, now())]);
}

#[test]
fn the_next_turn_does_not_wait_for_ever() {
    let long_ago = interrupted_at(now() - TimeDelta::seconds(5));
    when_worker(&long_ago, start(2)).then_expect_events(vec![
        cancelled_at(1, 1, untold(empty_answer(1, now())), now()),
        started_at(2, 1, now()),
    ]);
}

#[test]
fn a_retry_waits_for_nobody_once_all_have_ended() {
    let ended = past(&[
        &stopping(),
        &[cancelled_at(1, 1, answer(1, "hi"), then())],
        &[requested_at(2, message_id(10), settings("small"), then())],
    ]);
    when_worker(&ended, start(2)).then_expect_events(vec![started_at(2, 1, now())]);
}
