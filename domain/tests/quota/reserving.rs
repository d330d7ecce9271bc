//! Holding room for a turn.

use chrono::TimeDelta;
use domain::quota::{LimitKind, Quantity, QuotaEvent, QuotaRejection};

use crate::given::{
    account, ada, amount, change_tier, credits, expire, extend, free, hold_id, override_limits,
    price, priced, release, reserve, settle, suspend, utc,
};

#[test]
fn a_hold_is_the_prompt_and_the_longest_answer_in_tokens_and_money() {
    let story = account("{}").by(ada());
    story.when(reserve(1, 100, 500)).then_expect_events(vec![QuotaEvent::QuotaReserved {
        reservation_id: hold_id(1),
        service: "chat".to_owned(),
        model: "small".to_owned(),
        amount: amount(600, "1.1"),
        price: Some(price()),
        expires_at: utc("2026-01-15T12:10:00Z"),
        answer_tokens: 500,
        extends: false,
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    assert_eq!(story.does(reserve(1, 100, 500)).account.held, amount(600, "1.1"));
}

/// A cached prompt may cost more than another: the hold is for the dearer one.
#[test]
fn a_hold_is_enough_whatever_is_cached() {
    let mut story = account("{}");
    let dear = domain::Price { cached_input_per_1k: Some(credits("4")), ..price() };
    let mut book = domain::PriceBook::default();
    book.set(priced(dear, "2020-01-01T00:00:00Z"), utc("2020-01-01T00:00:00Z"));
    story.context.prices = book.into();
    assert_eq!(story.does(reserve(1, 100, 0)).account.held, amount(100, "0.4"));
}

#[test]
fn what_has_no_price_holds_tokens_only() {
    let story = account(r#"{"credits_per_day": "0.000001"}"#).does(free(reserve(1, 100, 500)));
    assert_eq!(story.account.held, amount(600, "0"));
}

#[test]
fn the_same_turn_is_held_once() {
    let story = account(r#"{"tokens_per_day": 700}"#).does(reserve(1, 100, 500));
    story.when(reserve(1, 100, 500)).then_expect_events(vec![]);
    story.when(reserve(1, 999, 999)).then_expect_events(vec![]);
}

#[test]
fn a_refusal_names_the_limit_what_is_left_and_when_it_renews() {
    let story = account(r#"{"tokens_per_day": 1000}"#)
        .does(reserve(1, 100, 300))
        .does(settle(1, 100, 200))
        .does(reserve(2, 100, 300));
    let refusal = story.refusal(reserve(3, 100, 201));
    assert_eq!(
        refusal,
        QuotaRejection::Exceeded {
            limit: LimitKind::TokensPerDay,
            needed: Quantity::Count(301),
            left: Quantity::Count(300),
            of: Quantity::Count(1000),
            renews_at: Some(utc("2026-01-16T00:00:00Z")),
        }
    );
    assert_eq!(
        refusal.to_string(),
        "tokens_per_day: 301 needed, 300 of 1000 left; renews at 2026-01-16T00:00:00Z"
    );
    assert_eq!(story.names_of(reserve(3, 100, 200)), ["QuotaReserved"]);
}

/// Each limit alone, filled to its last token or fraction of a credit and one more.
#[test]
fn every_limit_is_a_limit_and_is_reached_exactly() {
    let month = Some("2026-02-01T00:00:00Z");
    let day = Some("2026-01-16T00:00:00Z");
    for (limit, json, renews_at) in [
        (LimitKind::TokensPerDay, r#"{"tokens_per_day": 600}"#, day),
        (LimitKind::TokensPerMonth, r#"{"tokens_per_month": 600}"#, month),
        (LimitKind::TokensTotal, r#"{"tokens_total": 600}"#, None),
        (LimitKind::CreditsPerDay, r#"{"credits_per_day": "1.1"}"#, day),
        (LimitKind::CreditsPerMonth, r#"{"credits_per_month": "1.1"}"#, month),
        (LimitKind::CreditBalance, r#"{"credit_balance": "1.1"}"#, None),
    ] {
        let story = account(json);
        assert_eq!(story.names_of(reserve(1, 100, 500)), ["QuotaReserved"], "{limit}");
        // More than all of it finds no room in any window; the last bit of it in the next.
        let refused = |refusal: &QuotaRejection| {
            let QuotaRejection::Exceeded { limit, renews_at, .. } = refusal else {
                panic!("{refusal}")
            };
            (*limit, *renews_at)
        };
        let refusal = story.refusal(reserve(1, 101, 500));
        assert_eq!(refused(&refusal), (limit, None));
        assert!(refusal.to_string().starts_with(limit.as_str()), "{refusal}");
        assert_eq!(refusal.code(), "insufficient_quota");
        // What is held is as good as used.
        let full = story.does(reserve(1, 100, 500));
        assert_eq!(refused(&full.refusal(reserve(2, 1, 0))), (limit, renews_at.map(utc)));
        assert_eq!(full.refusal(reserve(2, 1, 0)).code(), "insufficient_quota", "{limit}");
        assert_eq!(full.refusal(extend(1, 1)).code(), "insufficient_quota", "{limit}");
    }
}

/// Before that, asking again is in vain.
#[test]
fn of_several_full_limits_the_one_that_renews_last_is_named() {
    let limit_of = |json: &str| match account(json).refusal(reserve(1, 100, 500)) {
        QuotaRejection::Exceeded { limit, .. } => limit,
        other => panic!("{other}"),
    };
    let day_and_month = r#"{"tokens_per_day": 10, "credits_per_month": "0.1"}"#;
    assert_eq!(limit_of(day_and_month), LimitKind::CreditsPerMonth);
    let month_and_total = r#"{"tokens_total": 10, "tokens_per_month": 10}"#;
    assert_eq!(limit_of(month_and_total), LimitKind::TokensTotal);
}

#[test]
fn nothing_is_unlimited_but_zero() {
    let story = account("{}").all((1..50).map(|turn| reserve(turn, 4_000_000_000, 4_000_000_000)));
    assert_eq!(story.account.held.tokens, 49 * 8_000_000_000);
}

#[test]
fn what_costs_nothing_needs_no_money() {
    let broke = account(r#"{"credit_balance": "1"}"#).does(reserve(1, 0, 500));
    assert_eq!(broke.refusal(reserve(2, 1, 0)).code(), "insufficient_quota");
    assert_eq!(broke.names_of(free(reserve(2, 100, 500))), ["QuotaReserved"]);
}

#[test]
fn a_hold_grows_in_steps_at_its_own_price() {
    let mut story = account(r#"{"tokens_per_day": 2000}"#).does(reserve(1, 100, 500));
    // The price has changed meanwhile; this turn was promised the old one.
    story.context.prices = domain::PriceBook::default().into();
    let story = story.later(TimeDelta::minutes(5)).does(extend(1, 500));
    let hold = &story.account.holds[&hold_id(1)];
    assert_eq!((hold.amount, hold.answer_tokens), (amount(1100, "2.1"), 1000));
    assert_eq!(hold.expires_at, utc("2026-01-15T12:15:00Z"), "a sign of life");
    assert_eq!(story.account.held, amount(1100, "2.1"));
    assert_eq!(story.names_of(extend(1, 900)), ["QuotaReserved"]);
    // There is room for 900: an answer on its way takes what there is.
    let most = story.clone().does(extend(1, 5000));
    assert_eq!(most.account.holds[&hold_id(1)].answer_tokens, 1900);
    assert_eq!(most.refusal(extend(1, 1)).code(), "insufficient_quota");
}

#[test]
fn a_sign_of_life_prolongs_a_hold_and_needs_no_room() {
    let story = account(r#"{"tokens_per_day": 600}"#).does(reserve(1, 100, 500));
    let story = story.later(TimeDelta::minutes(9)).does(extend(1, 0));
    assert_eq!(story.account.held, amount(600, "1.1"));
    story.at("2026-01-15T12:18:00Z").when(expire(1)).then_expect_error(QuotaRejection::NotExpired);
}

#[test]
fn what_is_not_held_cannot_grow() {
    let story = account("{}");
    story.when(extend(1, 10)).then_expect_error(QuotaRejection::ReservationNotFound);
    let settled = story.does(reserve(1, 1, 1)).does(settle(1, 1, 1));
    settled.when(extend(1, 10)).then_expect_error(QuotaRejection::ReservationNotFound);
}

#[test]
fn a_hold_expires_only_when_its_time_is_over() {
    let story = account("{}").does(reserve(1, 100, 500)).at("2026-01-15T12:09:59.999Z");
    story.when(expire(1)).then_expect_error(QuotaRejection::NotExpired);
    let story = story.at("2026-01-15T12:10:00Z");
    assert_eq!(story.names_of(expire(1)), ["ReservationExpired"]);
    let story = story.does(expire(1));
    assert_eq!(story.account.held, amount(0, "0"));
    story.when(expire(1)).then_expect_events(vec![]);
    story.when(expire(2)).then_expect_error(QuotaRejection::ReservationNotFound);
}

/// Others may have taken the room meanwhile.
#[test]
fn an_expired_hold_that_grows_needs_room_as_a_whole() {
    let story = account(r#"{"tokens_per_day": 1000}"#)
        .does(reserve(1, 100, 500))
        .at("2026-01-15T12:10:00Z")
        .does(expire(1));
    assert_eq!(story.clone().does(extend(1, 100)).account.held, amount(700, "1.3"));
    let taken = story.does(reserve(2, 100, 300));
    let refusal = taken.refusal(extend(1, 100));
    let QuotaRejection::Exceeded { needed, left, .. } = refusal else { panic!("{refusal}") };
    assert_eq!((needed, left), (Quantity::Count(700), Quantity::Count(600)));
    assert_eq!(taken.does(release(2)).does(extend(1, 100)).account.held, amount(700, "1.3"));
}

#[test]
fn a_suspended_account_holds_nothing_more() {
    let story = account("{}").does(reserve(1, 100, 500)).does(suspend()).by(ada());
    let suspended = QuotaRejection::Suspended("as agreed".to_owned());
    story.when(reserve(2, 1, 1)).then_expect_error(suspended.clone());
    story.when(extend(1, 1)).then_expect_error(suspended);
    // The turn that holds already goes on.
    story.when(reserve(1, 100, 500)).then_expect_events(vec![]);
}

#[test]
fn limits_that_shrink_while_it_is_held_take_nothing_away() {
    let story = account(r#"{"tokens_per_day": 10000}"#)
        .does(reserve(1, 1000, 4000))
        .does(override_limits(r#"{"tokens_per_day": 2000}"#));
    assert_eq!(story.account.held.tokens, 5000);
    let refusal = story.refusal(reserve(2, 1, 0));
    let QuotaRejection::Exceeded { left, of, .. } = refusal else { panic!("{refusal}") };
    assert_eq!((left, of), (Quantity::Count(0), Quantity::Count(2000)));
    let story = story.does(change_tier("pro")).does(settle(1, 1000, 500));
    assert_eq!((story.account.held.tokens, story.account.day.used.tokens), (0, 1500));
}
