//! Asking for a turn: its model and settings, one at a time, interruption.

use std::sync::Arc;

use domain::session::{
    Context, Rejection, SendMessage, SessionCommand, SessionEvent, UpdateSession,
};
use domain::{ModelSpec, Models, Settings, SettingsPatch, Status};

use crate::given::{
    answered, asked_at, cancelled_at, completed, context, context_without_models, created, ids,
    interrupt, interrupted_at, message_id, now, past, patch, queued, running, send, settings,
    stop_asked_at, then, turn_id, when, when_in,
};

fn with(patch: SettingsPatch) -> SendMessage {
    SendMessage { settings: patch, ..send(2) }
}

fn turn_settings(given: &[SessionEvent], command: SendMessage) -> (Settings, String) {
    let events = when(given, command).inspect_result().unwrap();
    let Some(SessionEvent::TurnRequested { settings, pool, .. }) = events.last().cloned() else {
        panic!("{events:?}")
    };
    (settings, pool)
}

#[test]
fn a_turn_names_its_model_and_queue() {
    let (used, pool) = turn_settings(&answered(), send(2));
    assert_eq!((used, pool.as_str()), (settings("small"), "fast"));
    let (used, pool) = turn_settings(&answered(), with(patch(r#"{"model": "large"}"#)));
    assert_eq!((used, pool.as_str()), (settings("large"), "slow"));
}

#[test]
fn a_turn_has_the_session_s_settings_and_its_own() {
    let session = Settings { temperature: Some(0.5), top_p: Some(0.9), ..settings("large") };
    let changed = SessionEvent::SettingsChanged { settings: session.clone(), at: then() };
    let given = past(&[&answered(), &[changed]]);
    let own = patch(r#"{"temperature": 1.0, "top_p": null}"#);
    let (used, _) = turn_settings(&given, with(own));
    assert_eq!(used, Settings { temperature: Some(1.0), top_p: None, ..session.clone() });
    let (used, _) = turn_settings(&given, send(2));
    assert_eq!(used, session, "the session's own stay as they were");
}

#[test]
fn a_turn_s_settings_are_checked() {
    let given = answered();
    let unknown = with(patch(r#"{"model": "huge"}"#));
    when(&given, unknown).then_expect_error(Rejection::UnknownModel("huge".to_owned()));
    let error = when(&given, with(patch(r#"{"temperature": 9}"#))).inspect_result().unwrap_err();
    assert_eq!(error.code(), "invalid_setting");
    let at_limit = with(patch(r#"{"max_tokens": 1000}"#));
    assert!(when(&given, at_limit).inspect_result().is_ok());
    let (asked, model, limit) = (1001, "small".to_owned(), 1000);
    when(&given, with(patch(r#"{"max_tokens": 1001}"#)))
        .then_expect_error(Rejection::MaxTokensTooLarge { asked, model, limit });
    when_in(context_without_models(), &given, send(2)).then_expect_error(Rejection::NoModel);
}

#[test]
fn a_disabled_model_takes_no_turns() {
    let mut models: Vec<ModelSpec> = context().models.iter().cloned().collect();
    models[1].status = Status::Disabled;
    let context = Context { models: Arc::new(Models::new(models)), ..context() };
    let refused = Rejection::ModelDisabled("large".to_owned());
    when_in(context.clone(), &answered(), with(patch(r#"{"model": "large"}"#)))
        .then_expect_error(refused.clone());
    let settings = || Some(patch(r#"{"model": "large"}"#));
    let update = UpdateSession { settings: settings(), ..UpdateSession::default() };
    when_in(context.clone(), &answered(), SessionCommand::UpdateSession(update))
        .then_expect_error(refused);
    assert!(when_in(context, &answered(), send(2)).inspect_result().is_ok());
}

#[test]
fn one_turn_at_a_time() {
    for given in [queued(), running()] {
        when(&given, send(2)).then_expect_error(Rejection::TurnInProgress(turn_id(1)));
    }
    when(&interrupted_at(then()), send(3)).then_expect_error(Rejection::TurnInProgress(turn_id(2)));
    assert!(when(&answered(), send(2)).inspect_result().is_ok());
}

#[test]
fn interrupting_a_running_turn_follows_its_partial_answer() {
    let events = past(&[&[stop_asked_at(1, now())], &asked_at(2, Some(message_id(11)), now())]);
    when(&running(), interrupt(2)).then_expect_events(events);
}

#[test]
fn interrupting_a_queued_turn_ends_it_at_once() {
    let events = past(&[
        &[stop_asked_at(1, now()), cancelled_at(1, 0, None, now())],
        &asked_at(2, Some(message_id(10)), now()),
    ]);
    when(&queued(), interrupt(2)).then_expect_events(events);
}

#[test]
fn interrupting_again_asks_nobody_twice() {
    let events = past(&[
        &[stop_asked_at(2, now()), cancelled_at(2, 0, None, now())],
        &asked_at(3, Some(message_id(20)), now()),
    ]);
    when(&interrupted_at(then()), interrupt(3)).then_expect_events(events);
}

#[test]
fn interrupting_an_idle_session_is_sending() {
    when(&answered(), interrupt(2)).then_expect_events(asked_at(2, Some(message_id(11)), now()));
    when(&[created()], interrupt(2)).then_expect_events(asked_at(2, None, now()));
}

#[test]
fn an_interrupting_message_may_branch_off() {
    let edit = SendMessage { parent_id: Some(message_id(10)), ..interrupt(2) };
    let events = past(&[&[stop_asked_at(1, now())], &asked_at(2, Some(message_id(10)), now())]);
    when(&running(), edit).then_expect_events(events);
}

#[test]
fn an_interruption_that_is_refused_stops_nothing() {
    let nowhere = SendMessage { parent_id: Some(message_id(99)), ..interrupt(2) };
    when(&running(), nowhere).then_expect_error(Rejection::ParentNotFound);
}

/// The interrupted turn may still end well: its answer takes its place, and the branch stays
/// where the interrupting message took it.
#[test]
fn an_answer_that_comes_after_the_interruption_keeps_its_place() {
    let given = past(&[&interrupted_at(then()), &[completed(1, 1)]]);
    let session = domain::session::Session::fold(&given);
    assert_eq!(session.leaf, Some(ids(2).message_id));
    assert_eq!(session.messages[&ids(2).message_id].parent_id, Some(ids(1).answer_id));
    assert!(session.messages.contains_key(&ids(1).answer_id));
    assert_eq!(session.active, [turn_id(2)]);
}
