//! Workers at a turn: claims, take-overs, and the ones that come back from the dead.

use domain::session::{MAX_ATTEMPTS, Rejection, SessionCommand, SessionEvent, TurnError};
use domain::{ActorRole, Completion, FinishReason, Message, Role, Usage};

use crate::given::{
    actor, answer, answered, cancel, cancelled_at, complete, confirm, deleted, empty_answer, fail,
    failed_at, interrupt, message_id, now, owner, past, queued, release, released, released_at,
    running, start, started, started_at, stop_asked, stop_asked_at, then, trouble, turn_id, untold,
    when, when_by, when_worker, worker,
};

#[test]
fn a_queued_turn_is_taken() {
    when_worker(&queued(), start(1, false)).then_expect_events(vec![started_at(1, 1, now())]);
    // A redelivered job says "take it over" of a turn that was never begun.
    when_worker(&queued(), start(1, true)).then_expect_events(vec![started_at(1, 1, now())]);
}

#[test]
fn a_running_turn_is_taken_over_on_purpose_only() {
    when_worker(&running(), start(1, false)).then_expect_error(Rejection::AttemptSuperseded);
    let other = SessionCommand::StartAttempt {
        turn_id: turn_id(1),
        worker_id: worker("other"),
        takeover: true,
    };
    when_worker(&running(), other).then_expect_events(vec![SessionEvent::AttemptStarted {
        turn_id: turn_id(1),
        attempt: 2,
        worker_id: worker("other"),
        at: now(),
    }]);
}

#[test]
fn a_turn_that_wears_out_its_workers_fails() {
    let attempts: Vec<_> = (1..=MAX_ATTEMPTS).map(|attempt| started(1, attempt)).collect();
    let given = past(&[&queued(), &attempts]);
    when_worker(&given, start(1, true)).then_expect_events(vec![SessionEvent::TurnFailed {
        turn_id: turn_id(1),
        attempt: MAX_ATTEMPTS,
        error: TurnError {
            code: "attempts_exhausted".to_owned(),
            message: "no answer: 3 workers were lost over it".to_owned(),
        },
        usage: None,
        at: now(),
    }]);
    let one_less = past(&[&queued(), &attempts[..2]]);
    when_worker(&one_less, start(1, true)).then_expect_events(vec![started_at(1, 3, now())]);
}

#[test]
fn a_turn_given_back_waits_for_the_next_worker() {
    when_worker(&running(), release(1, 1)).then_expect_events(vec![released_at(1, 1, now())]);
    let waiting = past(&[&running(), &[released(1, 1)]]);
    for takeover in [false, true] {
        when_worker(&waiting, start(1, takeover)).then_expect_events(vec![started_at(1, 2, now())]);
    }
    for late in [complete(1, 1), fail(1, 1, None), confirm(1, 1)] {
        when_worker(&waiting, late).then_expect_error(Rejection::AttemptSuperseded);
    }
    when_worker(&waiting, release(1, 1)).then_expect_events(vec![]);
}

#[test]
fn only_lost_attempts_wear_a_turn_out() {
    let mut given = queued();
    for attempt in 1..20 {
        given.extend([started(1, attempt), released(1, attempt)]);
    }
    // Nineteen planned stops, and then one worker after the other is lost.
    given.push(started(1, 20));
    for attempt in 21..20 + MAX_ATTEMPTS {
        when_worker(&given, start(1, true)).then_expect_events(vec![started_at(1, attempt, now())]);
        given.push(started(1, attempt));
    }
    let events = when_worker(&given, start(1, true)).inspect_result().unwrap();
    assert_eq!(events[0].name(), "TurnFailed");
    // The last one that is left gives it back: that costs nothing.
    given.push(released(1, 19 + MAX_ATTEMPTS));
    let next = started_at(1, 20 + MAX_ATTEMPTS, now());
    when_worker(&given, start(1, true)).then_expect_events(vec![next]);
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

/// The answer it promised is there, though empty: another message may follow it already.
#[test]
fn a_stopping_turn_given_back_has_stopped() {
    let stopping = past(&[&running(), &[stop_asked(1)]]);
    let empty = untold(empty_answer(1, now()));
    when_worker(&stopping, release(1, 1)).then_expect_events(vec![cancelled_at(
        1,
        1,
        empty,
        now(),
    )]);
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

#[test]
fn a_worker_that_was_given_up_is_refused() {
    let taken_over = past(&[&running(), &[started(1, 2)]]);
    for late in [complete(1, 1), fail(1, 1, None), confirm(1, 1), release(1, 1)] {
        when_worker(&taken_over, late).then_expect_error(Rejection::AttemptSuperseded);
    }
    assert!(when_worker(&taken_over, complete(1, 2)).inspect_result().is_ok());
}

#[test]
fn nobody_ends_a_turn_that_was_not_begun() {
    for early in [complete(1, 0), complete(1, 1), fail(1, 0, None), confirm(1, 0), release(1, 1)] {
        when_worker(&queued(), early).then_expect_error(Rejection::AttemptSuperseded);
    }
}

#[test]
fn an_ended_turn_is_ended() {
    let ends = [complete(1, 1), fail(1, 1, None), confirm(1, 1), release(1, 1)];
    for late in ends.into_iter().chain([start(1, false), start(1, true)]) {
        when_worker(&answered(), late).then_expect_error(Rejection::TurnFinished);
    }
}

#[test]
fn a_deleted_session_s_turn_is_ended() {
    let given = past(&[&running(), &[cancelled_at(1, 1, None, then()), deleted()]]);
    for late in [start(1, true), complete(1, 1), fail(1, 1, None), confirm(1, 1), release(1, 1)] {
        when_worker(&given, late).then_expect_error(Rejection::TurnFinished);
    }
}

#[test]
fn an_unknown_turn_is_not_found() {
    for stray in [start(9, false), complete(9, 1), fail(9, 1, None), confirm(9, 1), release(9, 1)] {
        when_worker(&running(), stray).then_expect_error(Rejection::TurnNotFound);
    }
}

#[test]
fn no_user_does_a_worker_s_work() {
    for user in [owner(), actor("acme", "root", ActorRole::Admin)] {
        for command in
            [start(1, true), complete(1, 1), fail(1, 1, None), confirm(1, 1), release(1, 1)]
        {
            when_by(&user, &running(), command).then_expect_error(Rejection::TurnNotFound);
        }
    }
}
