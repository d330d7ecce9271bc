//! Opening a session, and whose it is.

use std::collections::BTreeMap;

use domain::session::{CreateSession, Rejection, SessionCommand, SessionEvent};
use domain::{ActorRole, Settings};
use serde_json::json;

use crate::given::{
    abandon, actor, archived, asked, cancel, context, created, deleted, now, owner, past, running,
    send, settings, start, take_over, tenant, when, when_by, when_in,
};

fn create(create: CreateSession) -> SessionCommand {
    SessionCommand::CreateSession(create)
}

#[test]
fn a_session_belongs_to_who_opens_it() {
    let command = CreateSession {
        title: Some("A talk".to_owned()),
        settings: settings("large"),
        tags: vec!["work".to_owned()],
        metadata: BTreeMap::from([("ticket".to_owned(), json!(7))]),
        ephemeral: true,
    };
    when(&[], create(command.clone())).then_expect_events(vec![SessionEvent::SessionCreated {
        tenant_id: tenant(),
        user_id: owner().user_id,
        title: command.title,
        settings: command.settings,
        tags: command.tags,
        metadata: command.metadata,
        ephemeral: true,
        at: now(),
    }]);
}

#[test]
fn an_id_is_used_once_even_if_the_session_is_gone() {
    for past in [vec![created()], vec![created(), archived()], vec![created(), deleted()]] {
        when(&past, create(CreateSession::default())).then_expect_error(Rejection::SessionExists);
    }
}

#[test]
fn limits_are_kept() {
    let metadata = |bytes: usize| BTreeMap::from([("k".to_owned(), json!("x".repeat(bytes)))]);
    let good = CreateSession {
        title: Some("é".repeat(200)),
        tags: vec!["é".repeat(64); 32],
        metadata: metadata(16 * 1024 - 3),
        ..CreateSession::default()
    };
    assert!(when(&[], create(good.clone())).inspect_result().is_ok());
    for (bad, what) in [
        (CreateSession { title: Some("é".repeat(201)), ..good.clone() }, "title"),
        (CreateSession { tags: vec![String::new(); 33], ..good.clone() }, "tags"),
        (CreateSession { tags: vec!["é".repeat(65)], ..good.clone() }, "a tag"),
        (CreateSession { metadata: metadata(16 * 1024 - 2), ..good.clone() }, "metadata"),
    ] {
        let error = when(&[], create(bad)).inspect_result().unwrap_err();
        assert!(matches!(error, Rejection::TooMany { what: at, .. } if at == what), "{error}");
    }
    for blank in ["", " \t"] {
        let command = CreateSession { tags: vec![blank.to_owned()], ..good.clone() };
        let error = when(&[], SessionCommand::CreateSession(command)).inspect_result().unwrap_err();
        assert_eq!((error.code(), error.field()), ("empty_tag", Some("tags")));
    }
}

#[test]
fn settings_are_checked() {
    let with = |settings| create(CreateSession { settings, ..CreateSession::default() });
    let unknown = Rejection::UnknownModel("huge".to_owned());
    when(&[], with(settings("huge"))).then_expect_error(unknown);
    let hot = Settings { temperature: Some(3.0), ..Settings::default() };
    let error = when(&[], with(hot)).inspect_result().unwrap_err();
    assert_eq!((error.code(), error.field()), ("invalid_setting", Some("temperature")));
}

#[test]
fn a_session_is_no_business_of_others() {
    let strangers = [
        actor("globex", "ada", ActorRole::User),
        actor("globex", "ada", ActorRole::Admin),
        actor("globex", "ada", ActorRole::System),
        actor("acme", "bob", ActorRole::User),
    ];
    for stranger in &strangers {
        for command in [
            SessionCommand::SendMessage(send(2)),
            cancel(1),
            start(1),
            take_over(1, 1, "hi"),
            abandon(1, 1, "hi"),
            SessionCommand::DeleteSession,
        ] {
            when_by(stranger, &running(), command).then_expect_error(Rejection::SessionNotFound);
        }
    }
    for friend in [owner(), actor("acme", "bob", ActorRole::Admin)] {
        assert!(when_by(&friend, &running(), cancel(1)).inspect_result().is_ok());
    }
}

#[test]
fn a_session_that_is_not_there_is_not_found() {
    for command in [
        SessionCommand::SendMessage(send(1)),
        SessionCommand::ClearHistory,
        SessionCommand::DeleteSession,
    ] {
        when(&[], command).then_expect_error(Rejection::SessionNotFound);
    }
}

#[test]
fn the_same_command_makes_the_same_events() {
    let given = past(&[&[created()], &asked(1, None)]);
    let decide = || when_in(context(), &given, cancel(1)).inspect_result().unwrap();
    assert_eq!(decide(), decide());
}
