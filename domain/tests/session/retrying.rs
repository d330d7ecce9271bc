//! Another answer to the same message.

use domain::Settings;
use domain::session::{Rejection, RetryTurn, Session, SessionCommand, SessionEvent};

use crate::given::{
    answered, archived, cancelled_at, failed_at, ids, message_id, now, past, patch, queued,
    requested_at, running, settings, started, then, turn_id, when,
};

fn retry(number: u128, new: u128) -> RetryTurn {
    RetryTurn {
        turn_id: turn_id(number),
        new_turn_id: turn_id(new),
        answer_id: ids(new).answer_id,
        settings: patch("{}"),
    }
}

fn command(retry: RetryTurn) -> SessionCommand {
    SessionCommand::RetryTurn(retry)
}

#[test]
fn an_ended_turn_is_tried_again() {
    let failed = past(&[&queued(), &[started(1, 1), failed_at(1, 1, then())]]);
    let cancelled = past(&[&queued(), &[cancelled_at(1, 0, None, then())]]);
    for given in [answered(), failed, cancelled] {
        let expected = requested_at(2, message_id(10), settings("small"), now());
        when(&given, command(retry(1, 2))).then_expect_events(vec![expected.clone()]);
        let session = Session::fold(&past(&[&given, &[expected]]));
        assert_eq!(session.leaf, Some(message_id(10)), "the new answer follows the question");
    }
}

#[test]
fn a_retry_may_change_settings() {
    let change =
        RetryTurn { settings: patch(r#"{"model": "large", "top_p": 0.5}"#), ..retry(1, 2) };
    let settings = Settings { top_p: Some(0.5), ..settings("large") };
    when(&answered(), command(change)).then_expect_events(vec![requested_at(
        2,
        message_id(10),
        settings,
        now(),
    )]);
    let unknown = RetryTurn { settings: patch(r#"{"model": "huge"}"#), ..retry(1, 2) };
    when(&answered(), command(unknown))
        .then_expect_error(Rejection::UnknownModel("huge".to_owned()));
}

#[test]
fn a_retry_has_its_conditions() {
    when(&answered(), command(retry(9, 2))).then_expect_error(Rejection::TurnNotFound);
    for busy in [queued(), running()] {
        when(&busy, command(retry(1, 2))).then_expect_error(Rejection::TurnInProgress(turn_id(1)));
    }
    let put_away = past(&[&answered(), &[archived()]]);
    when(&put_away, command(retry(1, 2))).then_expect_error(Rejection::SessionArchived);
    let cleared = past(&[&answered(), &[SessionEvent::HistoryCleared { at: then() }]]);
    when(&cleared, command(retry(1, 2))).then_expect_error(Rejection::TurnNotFound);
}
