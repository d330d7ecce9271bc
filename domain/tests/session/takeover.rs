//! Attempts that come to nothing: the worker is lost, or the provider breaks the answer off.
//! Another one follows, but not for ever.

use domain::Usage;
use domain::session::{
    AttemptLimits, Context, Rejection, Session, SessionCommand, SessionEvent, TurnError,
};

use crate::given::{
    LIMITS, abandon, answer, broken_off, broken_off_at, complete, context, failed_at, lost,
    lost_at, now, past, queued, release, released, running, start, started, started_at, take_over,
    trouble, turn_id, when_in, when_worker, worker, worker_actor,
};

fn exhausted(attempt: u32, message: &str) -> SessionEvent {
    SessionEvent::TurnFailed {
        turn_id: turn_id(1),
        attempt,
        error: TurnError { code: "attempts_exhausted".to_owned(), message: message.to_owned() },
        usage: None,
        at: now(),
    }
}

/// A turn whose workers were lost one after the other, each with the text it brought; another one
/// is at it.
fn after_losses(texts: &[&str]) -> Vec<SessionEvent> {
    let mut given = running();
    for (attempt, text) in (1..).zip(texts) {
        given.extend([lost(1, attempt, text), started(1, attempt + 1)]);
    }
    given
}

fn names(events: &[SessionEvent]) -> Vec<&str> {
    events.iter().map(SessionEvent::name).collect()
}

#[test]
fn a_lost_attempt_is_given_up_and_the_next_one_starts_in_one_decision() {
    let SessionCommand::StartAttempt { turn_id, lost, .. } = take_over(1, 1, "so f") else {
        unreachable!()
    };
    let worker_id = worker("other");
    let other = SessionCommand::StartAttempt { turn_id, worker_id: worker_id.clone(), lost };
    when_worker(&running(), other).then_expect_events(vec![
        lost_at(1, 1, "so f", now()),
        SessionEvent::AttemptStarted { turn_id, attempt: 2, worker_id, at: now() },
    ]);
}

#[test]
fn an_attempt_is_taken_over_by_its_number() {
    let second = past(&[&running(), &[lost(1, 1, ""), started(1, 2)]]);
    for wrong in [0, 1, 3] {
        when_worker(&second, take_over(1, wrong, "so f"))
            .then_expect_error(Rejection::AttemptSuperseded);
    }
    when_worker(&second, take_over(1, 2, "so f"))
        .then_expect_events(vec![lost_at(1, 2, "so f", now()), started_at(1, 3, now())]);
}

/// Whoever looked was behind: the turn was never begun, or was given back meanwhile.
#[test]
fn nothing_is_taken_over_from_a_turn_that_waits() {
    when_worker(&queued(), take_over(1, 1, "so f")).then_expect_events(vec![started_at(
        1,
        1,
        now(),
    )]);
    for back in [released(1, 1), broken_off(1, 1, "so f")] {
        let waiting = past(&[&running(), &[back]]);
        when_worker(&waiting, take_over(1, 1, "so f")).then_expect_events(vec![started_at(
            1,
            2,
            now(),
        )]);
    }
}

#[test]
fn a_turn_that_wears_out_its_workers_fails() {
    when_worker(&after_losses(&["", ""]), take_over(1, 3, "")).then_expect_events(vec![
        lost_at(1, 3, "", now()),
        exhausted(3, "no answer: 3 workers in a row were lost over it"),
    ]);
    let one_less = when_worker(&after_losses(&[""]), take_over(1, 2, "")).inspect_result().unwrap();
    assert_eq!(names(&one_less), ["AttemptAbandoned", "AttemptStarted"]);
}

#[test]
fn workers_that_bring_something_do_not_wear_it_out() {
    // The last one, or one before.
    for (earlier, last) in
        [(&["", ""][..], "so f"), (&["", "", "so f", ""], ""), (&["", "so f", "", ""], "x")]
    {
        let attempt = u32::try_from(earlier.len()).unwrap() + 1;
        when_worker(&after_losses(earlier), take_over(1, attempt, last)).then_expect_events(vec![
            lost_at(1, attempt, last, now()),
            started_at(1, attempt + 1, now()),
        ]);
    }
    let again = when_worker(&after_losses(&["", "so f", "", ""]), take_over(1, 5, ""));
    let again = again.inspect_result().unwrap();
    assert_eq!(names(&again), ["AttemptAbandoned", "TurnFailed"]);
}

/// A worker that gave the turn back, or told that its provider broke off, was not lost; those
/// around it were.
#[test]
fn only_lost_workers_wear_a_turn_out() {
    let mut given = queued();
    for attempt in 1..20 {
        given.extend([started(1, attempt), released(1, attempt)]);
    }
    given.extend([started(1, 20), lost(1, 20, ""), started(1, 21), released(1, 21)]);
    given.extend([started(1, 22), lost(1, 22, ""), started(1, 23)]);
    when_worker(&given, release(1, 23)).inspect_result().unwrap();
    let last = when_worker(&given, take_over(1, 23, "")).inspect_result().unwrap();
    assert_eq!(names(&last), ["AttemptAbandoned", "TurnFailed"]);
    given.push(released(1, 23));
    when_worker(&given, start(1)).then_expect_events(vec![started_at(1, 24, now())]);
}

#[test]
fn there_is_an_end_to_attempts_of_all_kinds() {
    let mut given = queued();
    for attempt in 1..LIMITS.in_all {
        given.extend([started(1, attempt), released(1, attempt)]);
    }
    when_worker(&given, start(1)).then_expect_events(vec![started_at(1, LIMITS.in_all, now())]);
    given.push(started(1, LIMITS.in_all));
    let failed = exhausted(30, "no answer after 30 attempts");
    when_worker(&given, take_over(1, 30, "so f"))
        .then_expect_events(vec![lost_at(1, 30, "so f", now()), failed.clone()]);
    let broken = past(&[&given, &[]]);
    when_worker(&broken, abandon(1, 30, "so f")).then_expect_events(vec![spent(failed_at(
        1,
        30,
        now(),
    ))]);
    given.push(released(1, LIMITS.in_all));
    when_worker(&given, start(1)).then_expect_events(vec![failed]);
}

/// The same failure, with what the last attempt used.
fn spent(mut failed: SessionEvent) -> SessionEvent {
    if let SessionEvent::TurnFailed { usage, .. } = &mut failed {
        *usage = Some(answer(1, "so f").usage);
    }
    failed
}

#[test]
fn a_broken_answer_is_tried_again() {
    when_worker(&running(), abandon(1, 1, "so f")).then_expect_events(vec![broken_off_at(
        1,
        1,
        "so f",
        now(),
    )]);
    let waiting = past(&[&running(), &[broken_off(1, 1, "so f")]]);
    when_worker(&waiting, start(1)).then_expect_events(vec![started_at(1, 2, now())]);
}

#[test]
fn the_last_broken_answer_s_failure_is_the_turn_s() {
    // What was lost or given back in between counts otherwise.
    let between = [started(1, 2), released(1, 2), started(1, 3), lost(1, 3, ""), started(1, 4)];
    let second = past(&[&running(), &[broken_off(1, 1, "so f")], &between]);
    when_worker(&second, abandon(1, 4, "so f")).then_expect_events(vec![spent(failed_at(
        1,
        4,
        now(),
    ))]);
    let context = Context {
        attempts: AttemptLimits { broken_off: 1, ..LIMITS },
        actor: worker_actor(),
        ..context()
    };
    when_in(context, &running(), abandon(1, 1, "so f")).then_expect_events(vec![spent(failed_at(
        1,
        1,
        now(),
    ))]);
}

/// What it brought is progress as much as what a lost worker brought.
#[test]
fn a_broken_answer_is_not_a_lost_worker() {
    let given = past(&[&after_losses(&["", ""]), &[broken_off(1, 3, "so f"), started(1, 4)]]);
    let next = when_worker(&given, take_over(1, 4, "")).inspect_result().unwrap();
    assert_eq!(names(&next), ["AttemptAbandoned", "AttemptStarted"]);
}

#[test]
fn what_is_abandoned_is_nobody_s() {
    let waiting = past(&[&running(), &[broken_off(1, 1, "so f")]]);
    for late in [abandon(1, 1, "so f"), complete(1, 1), abandon(1, 2, "so f")] {
        when_worker(&waiting, late).then_expect_error(Rejection::AttemptSuperseded);
    }
    let session = Session::fold(&waiting);
    assert_eq!(session.turn(turn_id(1)).unwrap().worker_id, None);
}

#[test]
fn what_an_attempt_used_is_told() {
    let events = when_worker(&running(), take_over(1, 1, "so f")).inspect_result().unwrap();
    let SessionEvent::AttemptAbandoned { usage, reached, error, .. } = &events[0] else {
        panic!("{events:?}")
    };
    let expected = Usage { prompt_tokens: 7, completion_tokens: 5, ..Usage::default() };
    assert_eq!((*usage, *reached, error.code.as_str()), (expected, 4, "worker_lost"));
    let events = when_worker(&running(), abandon(1, 1, "so f")).inspect_result().unwrap();
    let [SessionEvent::AttemptAbandoned { usage, error, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*usage, error), (expected, &trouble()));
}

/// Older logs have no `AttemptAbandoned`: there the next start alone tells of the loss.
#[test]
fn a_start_over_a_running_attempt_tells_of_a_lost_worker() {
    let given = past(&[&running(), &[started(1, 2), started(1, 3)]]);
    let turn = Session::fold(&given).turn(turn_id(1)).unwrap().clone();
    assert_eq!((turn.attempt, turn.lost, turn.broken_off), (3, 2, 0));
    when_worker(&given, complete(1, 2)).then_expect_error(Rejection::AttemptSuperseded);
    when_worker(&given, take_over(1, 3, "")).then_expect_events(vec![
        lost_at(1, 3, "", now()),
        exhausted(3, "no answer: 3 workers in a row were lost over it"),
    ]);
    let told = past(&[&running(), &[lost(1, 1, ""), started(1, 2)]]);
    assert_eq!(Session::fold(&told).turn(turn_id(1)).unwrap().lost, 1, "a loss counts once");
}
