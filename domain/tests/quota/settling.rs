//! What was used is paid for, once.

use chrono::TimeDelta;
use domain::quota::{ConsumeQuota, QuotaCommand, QuotaEvent};
use domain::{Price, PriceBook, ReservationId, TurnId, Usage};

use crate::given::{
    Story, account, ada, amount, consume, consume_all, credits, entry, expire, extend, hold_id,
    posting, price, priced, release, reserve, settle, sum, suspend, usage, utc,
};

const LIMITS: &str = r#"{"tokens_total": 10000, "credit_balance": "10"}"#;

fn held() -> Story {
    account(LIMITS).does(reserve(1, 100, 500))
}

#[test]
fn a_turn_pays_what_it_used_and_gives_the_rest_back() {
    let story = held().by(ada()).later(TimeDelta::seconds(9));
    story.when(settle(1, 90, 40)).then_expect_events(vec![QuotaEvent::QuotaConsumed {
        entry_id: entry(1),
        reservation_id: Some(hold_id(1)),
        turn_id: Some(TurnId(entry(1))),
        service: "chat".to_owned(),
        model: "small".to_owned(),
        usage: usage(90, 40),
        price: Some(price()),
        priced_at: utc("2026-01-15T12:00:00Z"),
        amount: amount(130, "0.17"),
        overdrawn: amount(0, "0"),
        late: false,
        posting: posting(sum(-130, "-0.17"), sum(9870, "9.83")),
        at: utc("2026-01-15T12:00:09Z"),
    }]);
    let account = story.does(settle(1, 90, 40)).account;
    assert_eq!((account.held, account.holds.len()), (amount(0, "0"), 0));
    assert_eq!(account.balance, sum(9870, "9.83"));
    for used in [account.used, account.day.used, account.month.used] {
        assert_eq!(used, amount(130, "0.17"));
    }
}

#[test]
fn cached_tokens_are_cheaper() {
    let used = Usage { cached_tokens: 60, ..usage(90, 40) };
    let story = account(LIMITS).does(consume_all(1, used));
    assert_eq!(story.account.used, amount(130, "0.14"));
}

/// A catalog that changes in the middle of a turn changes nothing for it.
#[test]
fn the_price_is_the_reservation_s() {
    let mut story = held();
    let mut book = PriceBook::default();
    let dear = Price { output_per_1k: credits("900"), ..price() };
    book.set(priced(dear, "2020-01-01T00:00:00Z"), utc("2020-01-01T00:00:00Z"));
    story.context.prices = book.into();
    assert_eq!(story.clone().does(settle(1, 90, 40)).account.used, amount(130, "0.17"));
    assert_eq!(story.does(reserve(2, 0, 5)).account.holds[&hold_id(2)].amount, amount(5, "4.5"));
}

/// The model's name at the end is a matter of form: the price was that of what was reserved.
#[test]
fn the_entry_is_in_the_reservation_s_name() {
    let QuotaCommand::ConsumeQuota(settle) = settle(1, 90, 40) else { unreachable!() };
    let (service, model) = ("else".to_owned(), String::new());
    let events =
        held().events_of(QuotaCommand::ConsumeQuota(ConsumeQuota { service, model, ..settle }));
    let QuotaEvent::QuotaConsumed { service, model, amount: paid, .. } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!((service.as_str(), model.as_str()), ("chat", "small"));
    assert_eq!(*paid, amount(130, "0.17"));
}

#[test]
fn what_went_beyond_the_hold_is_paid_too() {
    let story =
        account(r#"{"tokens_total": 700, "credit_balance": "2"}"#).does(reserve(1, 100, 500));
    let events = story.events_of(settle(1, 100, 900));
    let QuotaEvent::QuotaConsumed { overdrawn, posting, .. } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(*overdrawn, amount(400, "0.8"));
    assert_eq!(posting.balance, sum(-300, "0.1"));
    let story = story.does(settle(1, 100, 900));
    assert_eq!(story.refusal(reserve(2, 1, 0)).code(), "insufficient_quota");
}

#[test]
fn a_turn_is_settled_once() {
    let story = held().does(settle(1, 90, 40));
    story.when(settle(1, 90, 40)).then_expect_events(vec![]);
    story.when(settle(1, 999, 999)).then_expect_events(vec![]);
    story.when(release(1)).then_expect_events(vec![]);
}

#[test]
fn a_turn_that_failed_pays_nothing() {
    let story = held();
    story.when(release(1)).then_expect_events(vec![QuotaEvent::ReservationReleased {
        reservation_id: hold_id(1),
        reason: "failed".to_owned(),
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    let story = story.does(release(1));
    assert_eq!(story.account.held, amount(0, "0"));
    assert_eq!(story.account.balance, sum(10000, "10"));
    story.when(release(1)).then_expect_events(vec![]);
    story.when(settle(1, 90, 40)).then_expect_events(vec![]);
}

#[test]
fn a_late_end_still_counts() {
    let story = held().at("2026-01-15T12:30:00Z").does(expire(1));
    let late = story.events_of(settle(1, 90, 40));
    let QuotaEvent::QuotaConsumed { late, amount: paid, price: at, .. } = &late[0] else {
        panic!("{late:?}")
    };
    assert_eq!((*late, *paid, *at), (true, amount(130, "0.17"), Some(price())));
    let settled = story.clone().does(settle(1, 90, 40));
    assert_eq!(settled.account.held, amount(0, "0"));
    assert_eq!(settled.account.balance, sum(9870, "9.83"));
    settled.when(settle(1, 90, 40)).then_expect_events(vec![]);
    // Or it failed after all.
    let failed = story.does(release(1));
    assert!(failed.account.holds.is_empty());
    assert_eq!(failed.account.held, amount(0, "0"));
}

/// What expired is somebody else's room by then.
#[test]
fn a_late_end_leaves_other_holds_alone() {
    let story = held()
        .at("2026-01-15T12:30:00Z")
        .does(expire(1))
        .does(reserve(2, 100, 100))
        .does(settle(1, 100, 500));
    assert_eq!(story.account.held, amount(200, "0.3"));
}

#[test]
fn a_hold_that_grew_is_settled_as_one() {
    let story = held().does(extend(1, 500)).does(settle(1, 100, 900));
    let QuotaEvent::QuotaConsumed { overdrawn, .. } = story.events.last().unwrap() else {
        panic!("{:?}", story.events)
    };
    assert_eq!(*overdrawn, amount(0, "0"));
    assert_eq!(story.account.held, amount(0, "0"));
}

#[test]
fn a_suspension_in_the_middle_of_a_turn_lets_it_end() {
    let story = held().does(suspend()).by(ada());
    assert_eq!(story.names_of(settle(1, 90, 40)), ["QuotaConsumed"]);
    assert_eq!(story.names_of(release(1)), ["ReservationReleased"]);
    assert_eq!(story.refusal(consume(2, 1, 1)).code(), "account_suspended");
}

#[test]
fn use_without_a_hold_is_checked_and_charged_at_once() {
    let story = account(r#"{"tokens_per_day": 100}"#).by(ada());
    let events = story.events_of(consume(1, 60, 40));
    let QuotaEvent::QuotaConsumed { reservation_id, turn_id, amount: paid, .. } = &events[0] else {
        panic!("{events:?}")
    };
    let nobody: (Option<ReservationId>, Option<TurnId>) = (None, None);
    assert_eq!((*reservation_id, *turn_id), nobody);
    assert_eq!(*paid, amount(100, "0.14"));
    assert_eq!(story.refusal(consume(1, 61, 40)).code(), "insufficient_quota");
    let story = story.does(consume(1, 60, 30)).does(reserve(2, 5, 0));
    assert_eq!(story.refusal(consume(3, 6, 0)).code(), "insufficient_quota");
    assert_eq!(story.names_of(consume(3, 5, 0))[0], "QuotaConsumed");
}
