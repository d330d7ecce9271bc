//! Workers at a turn: claims, ends, and the ones that come back from the dead.

use domain::session::{Rejection, SessionCommand, SessionEvent};
use domain::{ActorRole, Completion, FinishReason, Message, Role, Usage};

use crate::given::{
    abandon, actor, answer, answered, cancel, cancelled_at, complete, confirm, deleted,
    empty_answer, fail, failed_at, interrupt, lost, message_id, now, owner, past, queued, release,
    released, released_at, running, start, started, started_at, stop_asked, stop_asked_at,
    take_over, then, trouble, turn_id, when, when_by, when_worker,
};

#[test]
fn a_queued_turn_is_taken() {
    when_worker(&queued(), start(1)).then_expect_events(vec![started_at(1, 1, now())]);
}

#[test]
fn a_running_turn_is_not_taken() {
    when_worker(&running(), start(1)).then_expect_error(Rejection::AttemptSuperseded);
}

#[test]
fn a_turn_given_back_waits_for_the_next_worker() {
    when_worker(&running(), release(1, 1)).then_expect_events(vec![released_at(1, 1, now())]);
    let waiting = past(&[&running(), &[released(1, 1)]]);
    for start in [start(1), take_over(1, 1, "so f")] {
        when_worker(&waiting, start).then_expect_events(vec![started_at(1, 2, now())]);
    }
    for late in [complete(1, 1), fail(1, 1, None), confirm(1, 1), abandon(1, 1, "")] {
        when_worker(&waiting, late).then_expect_error(Rejection::AttemptSuperseded);
    }
    when_worker(&waiting, release(1, 1)).then_expect_events(vec![]);
}

/// The worker's number tells watchers of that attempt that this is the end.
#[test]
fn a_turn_given_back_can_be_stopped() {
    let waiting = past(&[&running(), &[released(1, 1)]]);
    let ended = vec![stop_asked_at(1, now()), cancelled_at(1, 1, None, now())];
    when(&waiting, cancel(1)).then_expect_events(ended.clone());
    let events = when(&waiting, interrupt(2)).inspect_result().unwrap();
    assert_eq!(events[..2], ended);
    let SessionEvent::MessageSent { message } = &events[2] else { panic!("{events:?}") };
    assert_eq!(message.parent_id, Some(message_id(10)), "it leaves no answer behind");
}

/// The answer it promised is there, if only empty: another message may follow it already.
#[test]
fn a_stopping_turn_given_back_has_stopped() {
    let stopping = past(&[&running(), &[stop_asked(1)]]);
    let stopped = |answer| vec![cancelled_at(1, 1, answer, now())];
    let empty = empty_answer(1, now());
    when_worker(&stopping, release(1, 1)).then_expect_events(stopped(empty));
    // What it had said is kept.
    let (turn_id, partial) = (turn_id(1), Some(answer(1, "so f")));
    let spoken = SessionCommand::ReleaseAttempt { turn_id, attempt: 1, partial };
    when_worker(&stopping, spoken.clone()).then_expect_events(stopped(answer(1, "so f")));
    // Where it is not stopping, the next attempt says it all again; what it cost is told.
    let events = when_worker(&running(), spoken).inspect_result().unwrap();
    let [SessionEvent::AttemptReleased { usage: Some(used), .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*used, answer(1, "so f").usage);
}

#[test]
fn an_answer_ends_the_turn() {
    when_worker(&running(), complete(1, 1)).then_expect_events(vec![SessionEvent::TurnCompleted {
        turn_id: turn_id(1),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: answer(1, "hi"),
        at: now(),
    }]);
}

/// Others may follow the answer already, by the id that the turn promised.
#[test]
fn an_answer_takes_the_place_that_was_promised() {
    let good = answer(1, "hi");
    let astray =
        Message { id: message_id(99), parent_id: None, role: Role::User, ..good.message.clone() };
    let completion = Completion { message: astray, ..good.clone() };
    let command = SessionCommand::ConfirmCancel {
        turn_id: turn_id(1),
        attempt: 1,
        completion: completion.clone(),
    };
    when_worker(&running(), command).then_expect_events(vec![cancelled_at(
        1,
        1,
        good.clone(),
        now(),
    )]);
    let command = SessionCommand::CompleteTurn {
        turn_id: turn_id(1),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion,
    };
    let events = when_worker(&running(), command).inspect_result().unwrap();
    let [SessionEvent::TurnCompleted { completion, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*completion, good);
}

#[test]
fn a_failure_ends_the_turn() {
    when_worker(&running(), fail(1, 1, None)).then_expect_events(vec![failed_at(1, 1, now())]);
    let usage = Some(Usage { prompt_tokens: 7, ..Usage::default() });
    when_worker(&running(), fail(1, 1, usage)).then_expect_events(vec![SessionEvent::TurnFailed {
        turn_id: turn_id(1),
        attempt: 1,
        error: trouble(),
        usage,
        at: now(),
    }]);
}

/// All that a worker can say of its attempt.
fn a_worker_s_words(number: u128, attempt: u32) -> Vec<SessionCommand> {
    vec![
        complete(number, attempt),
        fail(number, attempt, None),
        confirm(number, attempt),
        release(number, attempt),
        abandon(number, attempt, "so f"),
    ]
}

#[test]
fn a_worker_that_was_given_up_is_refused() {
    let taken_over = past(&[&running(), &[lost(1, 1, ""), started(1, 2)]]);
    for late in a_worker_s_words(1, 1) {
        when_worker(&taken_over, late).then_expect_error(Rejection::AttemptSuperseded);
    }
    assert!(when_worker(&taken_over, complete(1, 2)).inspect_result().is_ok());
}

#[test]
fn nobody_ends_a_turn_that_was_not_begun() {
    let none_yet = vec![complete(1, 0), fail(1, 0, None), confirm(1, 0), abandon(1, 0, "")];
    for early in [a_worker_s_words(1, 1), none_yet].concat() {
        when_worker(&queued(), early).then_expect_error(Rejection::AttemptSuperseded);
    }
}

#[test]
fn an_ended_turn_is_ended() {
    for late in [a_worker_s_words(1, 1), vec![start(1), take_over(1, 1, "hi")]].concat() {
        when_worker(&answered(), late).then_expect_error(Rejection::TurnFinished);
    }
}

#[test]
fn a_deleted_session_s_turn_is_ended() {
    let given = past(&[&running(), &[cancelled_at(1, 1, None, then()), deleted()]]);
    for late in [a_worker_s_words(1, 1), vec![start(1), take_over(1, 1, "hi")]].concat() {
        when_worker(&given, late).then_expect_error(Rejection::TurnFinished);
    }
}

#[test]
fn an_unknown_turn_is_not_found() {
    for stray in [a_worker_s_words(9, 1), vec![start(9), take_over(9, 1, "hi")]].concat() {
        when_worker(&running(), stray).then_expect_error(Rejection::TurnNotFound);
    }
}

#[test]
fn no_user_does_a_worker_s_work() {
    for user in [owner(), actor("acme", "root", ActorRole::Admin)] {
        for command in [a_worker_s_words(1, 1), vec![start(1), take_over(1, 1, "hi")]].concat() {
            when_by(&user, &running(), command).then_expect_error(Rejection::TurnNotFound);
        }
    }
}
