//! What a session's events mean for its owner's account.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::billing::{bill, settle};
use domain::session::{CreateCompletion, RetryTurn, Session, SessionCommand, SessionEvent};
use domain::{
    AccountId, Actor, ContentPart, FinishReason, Message, MessageId, ModelSpec, Models, Role,
    Settings, SettingsPatch, Usage,
};
use uuid::Uuid;

use crate::chat::{
    abandon, chat, completion, confirm, consumed, fail, hello, ids, released, reserved, running,
    send, start, take_over, turn_id,
};
use crate::given::{NOON, account, ada, hold_id, policy, root, usage, utc};

#[test]
fn a_turn_holds_its_prompt_and_a_step_of_its_answer() {
    let commands = chat().commands(send(1, Settings::default()));
    let reserve = reserved(&commands);
    assert_eq!(reserve.reservation_id, hold_id(1));
    assert_eq!((reserve.service.as_str(), reserve.model.as_str()), ("chat", "small"));
    assert!((1..50).contains(&reserve.prompt_tokens), "{reserve:?}");
    assert_eq!((reserve.answer_tokens, reserve.extends), (500, false));
}

#[test]
fn an_answer_that_is_limited_is_held_as_a_whole() {
    let settings = |model: &str, max_tokens| Settings {
        model: Some(model.to_owned()),
        max_tokens,
        ..Settings::default()
    };
    for (settings, answer) in [
        (settings("small", Some(50)), 50),
        (settings("small", Some(900)), 900),
        (settings("terse", None), 300),
        (settings("terse", Some(10)), 10),
    ] {
        let commands = chat().commands(send(1, settings));
        assert_eq!(reserved(&commands).answer_tokens, answer);
    }
}

#[test]
fn the_prompt_is_the_whole_conversation_as_far_as_the_model_holds_it() {
    let mut chat = running();
    let text = "word ".repeat(100);
    let completion = completion(&text, usage(5, 100));
    chat.does(SessionCommand::CompleteTurn {
        turn_id: turn_id(1),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion,
    });
    chat.by(ada());
    let commands = chat.commands(send(2, Settings::default()));
    let long = reserved(&commands).prompt_tokens;
    assert!(long > 100, "{long}");
    let tiny = Models::new(vec![ModelSpec::new("small", "scripted", 60, 20)]);
    let again = SessionEvent::TurnRequested {
        turn_id: turn_id(2),
        message_id: ids(2).message_id,
        answer_id: ids(2).answer_id,
        settings: Settings { model: Some("small".to_owned()), ..Settings::default() },
        pool: "default".to_owned(),
        at: utc(NOON),
    };
    let bill = bill(&chat.session, &[again], &tiny, &policy("{}")).unwrap();
    let reserve = reserved(&bill.commands);
    assert!(reserve.prompt_tokens <= 60, "{reserve:?}");
    assert_eq!(reserve.answer_tokens, 20);
}

/// Each message of a history is looked for once in an index, not in all of them.
#[test]
fn a_long_history_is_not_searched_again_for_each_message() {
    let settings = Settings { model: Some("small".to_owned()), ..Settings::default() };
    let count = 40_000_u128;
    let message = |number: u128| Message {
        id: MessageId(Uuid::from_u128(number)),
        parent_id: (number > 1).then(|| MessageId(Uuid::from_u128(number - 1))),
        role: Role::User,
        content: vec![ContentPart::text("a")],
        name: None,
        created_at: utc(NOON),
    };
    let at = utc(NOON);
    let events = [
        SessionEvent::MessagesImported { messages: (1..count).map(message).collect(), at },
        SessionEvent::MessageSent { message: message(count) },
        SessionEvent::TurnRequested {
            turn_id: turn_id(1),
            message_id: MessageId(Uuid::from_u128(count)),
            answer_id: ids(1).answer_id,
            settings,
            pool: "default".to_owned(),
            at,
        },
    ];
    let model = Models::new(vec![ModelSpec::new("small", "scripted", 10_000_000, 20)]);
    let start = Instant::now();
    let bill = bill(&chat().session, &events, &model, &policy("{}")).unwrap();
    assert!(u128::from(reserved(&bill.commands).prompt_tokens) > count);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// The model may be gone from the catalog while its turn is on its way.
#[test]
fn a_model_that_nobody_knows_holds_a_step() {
    let mut chat = chat();
    let events = chat.does(send(1, Settings::default()));
    let bill = bill(&chat.session, &events, &Models::default(), &policy("{}")).unwrap();
    let reserve = reserved(&bill.commands);
    assert_eq!((reserve.prompt_tokens, reserve.answer_tokens), (0, 500));
}

/// The provider may refuse it; nobody pays for more than there is room for.
#[test]
fn a_prompt_is_no_longer_than_its_model_holds() {
    let mut chat = chat();
    let events = chat.does(send(1, Settings::default()));
    let tiny = Models::new(vec![ModelSpec::new("small", "scripted", 3, 1)]);
    let bill = bill(&chat.session, &events, &tiny, &policy("{}")).unwrap();
    let reserve = reserved(&bill.commands);
    assert_eq!((reserve.prompt_tokens, reserve.answer_tokens), (3, 1));
}

#[test]
fn an_answer_is_paid() {
    let used = Usage { cached_tokens: 3, ..usage(7, 5) };
    let commands = running().commands(SessionCommand::CompleteTurn {
        turn_id: turn_id(1),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: completion("hi", used),
    });
    assert_eq!(commands, [consumed(1, used)]);
}

#[test]
fn a_failure_costs_nothing() {
    for usage in [None, Some(usage(7, 5))] {
        assert_eq!(running().commands(fail(usage)), [released(1, "provider_error")]);
    }
}

#[test]
fn a_turn_that_wore_out_its_workers_costs_nothing() {
    let mut chat = running();
    for attempt in [1, 2] {
        assert_eq!(chat.commands(take_over(attempt, "", usage(7, 0))), []);
    }
    let last = chat.commands(take_over(3, "", usage(7, 0)));
    assert_eq!(last, [released(1, "attempts_exhausted")]);
}

/// The user pays for the attempt that brought the answer, and for no other.
#[test]
fn lost_and_broken_attempts_cost_nothing() {
    let mut chat = running();
    assert_eq!(chat.commands(take_over(1, "so f", usage(7, 2))), []);
    assert_eq!(chat.commands(abandon(2, usage(7, 2))), []);
    chat.start(1);
    let commands = chat.commands(SessionCommand::CompleteTurn {
        turn_id: turn_id(1),
        attempt: 3,
        finish_reason: FinishReason::Stop,
        completion: completion("hi", usage(7, 5)),
    });
    assert_eq!(commands, [consumed(1, usage(7, 5))]);
}

#[test]
fn a_turn_whose_provider_broke_off_too_often_costs_nothing() {
    let mut chat = running();
    assert_eq!(chat.commands(abandon(1, usage(7, 2))), []);
    chat.start(1);
    assert_eq!(chat.commands(abandon(2, usage(7, 2))), [released(1, "provider_error")]);
}

/// It was asked to stop, and what it had said is the answer: that is paid, whoever tells of it.
#[test]
fn a_stopping_turn_that_lost_its_worker_pays_what_it_used() {
    let stopping = || {
        let mut chat = running();
        chat.does(SessionCommand::CancelTurn { turn_id: turn_id(1) });
        chat
    };
    let used = usage(7, 2);
    assert_eq!(stopping().commands(take_over(1, "so f", used)), [consumed(1, used)]);
    assert_eq!(stopping().commands(abandon(1, used)), [consumed(1, used)]);
    // Nobody knows of anything that it used.
    let nothing = stopping().commands(take_over(1, "", Usage::default()));
    assert_eq!(nothing, [released(1, "cancelled")]);
}

/// Between two attempts there is no answer to pay for.
#[test]
fn a_turn_cancelled_after_its_attempt_was_abandoned_costs_nothing() {
    let mut chat = running();
    chat.does(abandon(1, usage(7, 2)));
    let cancel = SessionCommand::CancelTurn { turn_id: turn_id(1) };
    assert_eq!(chat.commands(cancel), [released(1, "cancelled")]);
}

#[test]
fn a_turn_cancelled_before_it_ran_costs_nothing() {
    let mut chat = chat();
    chat.does(send(1, Settings::default()));
    let cancel = SessionCommand::CancelTurn { turn_id: turn_id(1) };
    assert_eq!(chat.commands(cancel), [released(1, "cancelled")]);
}

#[test]
fn a_turn_cancelled_on_its_way_pays_what_it_used() {
    let cancel = || SessionCommand::CancelTurn { turn_id: turn_id(1) };
    let mut chat = running();
    assert_eq!(chat.commands(cancel()), [], "it still runs");
    assert_eq!(chat.commands(confirm("so f", usage(7, 2))), [consumed(1, usage(7, 2))]);
    // The provider had not begun.
    let mut chat = running();
    chat.does(cancel());
    assert_eq!(chat.commands(confirm("", Usage::default())), [released(1, "cancelled")]);
    // It had, and had said nothing: the prompt is paid.
    let mut chat = running();
    chat.does(cancel());
    assert_eq!(chat.commands(confirm("", usage(7, 0))), [consumed(1, usage(7, 0))]);
    // It failed on its way to the end: it has stopped with what was said.
    let mut chat = running();
    chat.does(cancel());
    assert_eq!(chat.commands(fail(Some(usage(7, 3)))), [consumed(1, usage(7, 3))]);
}

#[test]
fn a_turn_that_was_interrupted_in_the_queue_makes_room_first() {
    let mut chat = chat();
    chat.does(send(1, Settings::default()));
    let commands = chat.commands(send(2, Settings::default()));
    assert_eq!(commands[0], released(1, "cancelled"));
    assert_eq!(reserved(&commands[1..]).reservation_id, hold_id(2));
}

#[test]
fn a_turn_that_was_interrupted_as_it_ran_pays_when_it_ends() {
    let mut chat = running();
    chat.by(ada());
    let commands = chat.commands(send(2, Settings::default()));
    assert_eq!(reserved(&commands).reservation_id, hold_id(2));
    chat.by(Actor::system(ada().tenant_id));
    assert_eq!(chat.commands(confirm("so f", usage(7, 2))), [consumed(1, usage(7, 2))]);
}

/// Its worker may still be at it: the hold stays until that tells what was used.
#[test]
fn a_turn_that_will_not_stop_is_paid_when_its_attempt_ends() {
    let mut chat = running();
    chat.by(ada());
    chat.does(send(2, Settings::default()));
    chat.context.now += TimeDelta::seconds(5);
    chat.by(Actor::system(ada().tenant_id));
    assert_eq!(chat.commands(start(2, None)), []);
    let late = settle(&chat.session, turn_id(1), Some(usage(7, 2)));
    assert_eq!(late, consumed(1, usage(7, 2)));
}

#[test]
fn a_turn_given_back_keeps_its_hold() {
    let mut chat = running();
    let back = SessionCommand::ReleaseAttempt { turn_id: turn_id(1), attempt: 1, partial: None };
    assert_eq!(chat.commands(back), []);
}

/// It ends then, and what was used until then is paid.
#[test]
fn a_turn_given_back_that_was_to_stop_is_settled() {
    let used = usage(7, 2);
    for (partial, expected) in
        [(Some(completion("so f", used)), consumed(1, used)), (None, released(1, "cancelled"))]
    {
        let mut chat = running();
        chat.by(ada());
        chat.does(SessionCommand::CancelTurn { turn_id: turn_id(1) });
        chat.by(Actor::system(ada().tenant_id));
        let back = SessionCommand::ReleaseAttempt { turn_id: turn_id(1), attempt: 1, partial };
        assert_eq!(chat.commands(back), [expected]);
    }
}

#[test]
fn a_retry_is_a_turn() {
    let mut chat = running();
    chat.does(fail(None));
    chat.by(ada());
    let commands = chat.commands(SessionCommand::RetryTurn(RetryTurn {
        turn_id: turn_id(1),
        new_turn_id: turn_id(2),
        answer_id: ids(2).answer_id,
        settings: SettingsPatch::default(),
    }));
    assert_eq!(reserved(&commands).reservation_id, hold_id(2));
}

#[test]
fn a_stateless_call_is_a_turn() {
    let mut chat = chat();
    chat.session = Session::default();
    let bill = chat.bill(SessionCommand::CreateCompletion(CreateCompletion {
        ids: ids(1),
        history_ids: Vec::new(),
        settings: Settings::default(),
        history: Vec::new(),
        message: hello(),
    }));
    let bill = bill.unwrap();
    assert_eq!(bill.owner, (ada().tenant_id, ada().user_id));
    assert_eq!(reserved(&bill.commands).reservation_id, hold_id(1));
}

/// What its attempt used by then is for the attempt to tell: deleting is no way around the bill.
#[test]
fn a_deleted_session_s_turn_is_let_go_unless_it_is_at_work() {
    let mut queued = chat();
    queued.does(send(1, Settings::default()));
    queued.by(ada());
    let commands = queued.commands(SessionCommand::DeleteSession);
    assert_eq!(commands, [released(1, "cancelled")]);
    let mut running = running();
    running.by(ada());
    assert_eq!(running.bill(SessionCommand::DeleteSession), None);
    let told = |used| settle(&running.session, turn_id(1), used);
    assert_eq!(told(Some(usage(7, 3))), consumed(1, usage(7, 3)));
    assert_eq!(told(None), released(1, "cancelled"));
    assert_eq!(told(Some(Usage::default())), released(1, "cancelled"));
}

#[test]
fn the_owner_pays_whoever_acts() {
    let mut chat = chat();
    chat.by(root());
    let bill = chat.bill(send(1, Settings::default())).unwrap();
    assert_eq!(bill.owner, (ada().tenant_id, ada().user_id));
    assert_eq!(bill.account_id(), AccountId::of(&ada().tenant_id, &ada().user_id));
    chat.start(1);
    let end = chat.bill(fail(None)).unwrap();
    assert_eq!(end.owner, bill.owner);
}

/// From the first message to the last token: the account's commands fit each other.
#[test]
fn a_bill_is_carried_out() {
    let mut chat = chat();
    let begin = chat.commands(send(1, Settings::default()));
    let story = account("{}").by(ada()).all(begin);
    assert!(story.account.held.tokens > 500);
    chat.start(1);
    let end = chat.commands(SessionCommand::CompleteTurn {
        turn_id: turn_id(1),
        attempt: 1,
        finish_reason: FinishReason::Stop,
        completion: completion("hi", usage(7, 5)),
    });
    let story = story.all(end);
    assert_eq!((story.account.held.tokens, story.account.used.tokens), (0, 12));
    assert_eq!(story.account.used.credits.to_string(), "0.017");
}
