//! The account as its owner sees it.

use domain::quota::{AccountStatus, Level, LimitKind, LimitView, Quantity, ResetScope};

use crate::given::{
    account, adjust, consume, credits, free, override_limits, recharge, reserve, reset, settle,
    suspend, utc,
};

const ALL: &str = r#"{"requests_per_minute": 5, "tokens_per_day": 1000, "tokens_per_month": 2000,
    "tokens_total": 3000, "credits_per_day": "2", "credits_per_month": "4", "credit_balance": "6"}"#;

fn money(amount: &str) -> Quantity {
    Quantity::Credits(credits(amount))
}

fn seen(
    kind: LimitKind,
    [limit, used, reserved, left]: [Quantity; 4],
    renews_at: Option<&str>,
) -> LimitView {
    LimitView {
        kind,
        limit: Some(limit),
        used,
        reserved,
        remaining: Some(left),
        renews_at: renews_at.map(utc),
        level: None,
    }
}

#[test]
fn every_limit_is_shown_with_what_is_used_held_and_left() {
    let story = account(ALL)
        .does(consume(1, 200, 100))
        .does(reserve(2, 100, 200))
        .at("2026-01-15T12:00:30Z");
    let count = |numbers: [u64; 4]| numbers.map(Quantity::Count);
    let (day, month) = (Some("2026-01-16T00:00:00Z"), Some("2026-02-01T00:00:00Z"));
    let view = story.view();
    assert_eq!(
        view.limits,
        [
            seen(LimitKind::RequestsPerMinute, count([5, 2, 0, 3]), None),
            seen(LimitKind::TokensPerDay, count([1000, 300, 300, 400]), day),
            seen(LimitKind::TokensPerMonth, count([2000, 300, 300, 1400]), month),
            seen(LimitKind::TokensTotal, count([3000, 300, 300, 2400]), None),
            seen(LimitKind::CreditsPerDay, ["2", "0.4", "0.5", "1.1"].map(money), day),
            seen(LimitKind::CreditsPerMonth, ["4", "0.4", "0.5", "3.1"].map(money), month),
            seen(LimitKind::CreditBalance, ["6", "0.4", "0.5", "5.1"].map(money), None),
        ]
    );
    assert_eq!((view.tier.as_str(), view.status), ("free", AccountStatus::Active));
    assert_eq!(view.balance, crate::given::sum(2700, "5.6"));
}

#[test]
fn what_is_unlimited_has_neither_limit_nor_rest() {
    let story = account("{}").does(consume(1, 200, 100)).does(reserve(2, 100, 200));
    for limit in story.view().limits {
        assert_eq!((limit.limit, limit.remaining, limit.level), (None, None, None));
    }
    let day = story.limit(LimitKind::TokensPerDay);
    assert_eq!((day.used, day.reserved), (Quantity::Count(300), Quantity::Count(300)));
}

#[test]
fn it_is_written_as_json_without_floats() {
    let story = account(r#"{"credit_balance": "6"}"#).does(consume(1, 0, 150));
    let json = serde_json::to_value(story.limit(LimitKind::CreditBalance)).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "kind": "credit_balance", "limit": "6", "used": "0.3", "reserved": "0",
            "remaining": "5.7", "renews_at": null, "level": null,
        })
    );
}

#[test]
fn the_full_minute_says_when_it_has_room() {
    let story = account(r#"{"requests_per_minute": 1}"#).does(consume(1, 1, 0));
    let full = story.limit(LimitKind::RequestsPerMinute);
    assert_eq!(full.remaining, Some(Quantity::Count(0)));
    assert_eq!(full.renews_at, Some(utc("2026-01-15T12:01:00Z")));
    assert_eq!(story.view().status, AccountStatus::Active, "a minute is no matter");
    let later = story.at("2026-01-15T12:01:00Z").limit(LimitKind::RequestsPerMinute);
    assert_eq!((later.remaining, later.renews_at), (Some(Quantity::Count(1)), None));
}

#[test]
fn a_day_that_has_passed_is_shown_as_over() {
    let story = account(ALL).does(consume(1, 1000, 0)).at("2026-01-15T23:59:59Z");
    assert_eq!(story.view().status, AccountStatus::Exhausted);
    assert_eq!(story.limit(LimitKind::TokensPerDay).level, Some(Level::Exhausted));
    let story = story.at("2026-01-16T00:00:00Z");
    assert_eq!(story.view().status, AccountStatus::Active);
    let day = story.limit(LimitKind::TokensPerDay);
    assert_eq!((day.used, day.level), (Quantity::Count(0), None));
    assert_eq!(day.renews_at, Some(utc("2026-01-17T00:00:00Z")));
    assert_eq!(story.limit(LimitKind::TokensPerMonth).used, Quantity::Count(1000));
}

/// The reader's clock may be behind the writer's.
#[test]
fn a_slower_clock_shows_the_day_that_has_begun() {
    let story =
        account(ALL).at("2026-01-16T00:00:01Z").does(consume(1, 100, 0)).at("2026-01-15T23:59:59Z");
    let day = story.limit(LimitKind::TokensPerDay);
    assert_eq!(day.used, Quantity::Count(100));
    assert_eq!(day.renews_at, Some(utc("2026-01-17T00:00:00Z")));
}

#[test]
fn a_recharge_and_a_deduction_move_what_there_is_altogether() {
    let story = account(ALL).does(consume(1, 500, 0)).does(recharge(2, 1000, "1"));
    let total = story.limit(LimitKind::TokensTotal);
    assert_eq!((total.limit, total.used), (Some(Quantity::Count(4000)), Quantity::Count(500)));
    assert_eq!(total.remaining, Some(Quantity::Count(3500)));
    let story = story.does(adjust(3, -500, "0"));
    let total = story.limit(LimitKind::TokensTotal);
    assert_eq!(
        (total.limit, total.remaining),
        (Some(Quantity::Count(3500)), Some(Quantity::Count(3000)),)
    );
    let total = story.does(reset(ResetScope::Balance)).limit(LimitKind::TokensTotal);
    assert_eq!((total.limit, total.used), (Some(Quantity::Count(3000)), Quantity::Count(0)));
}

#[test]
fn debts_are_shown_as_nothing_left() {
    let story = account(r#"{"tokens_total": 100}"#).does(reserve(1, 0, 100));
    let story = story.does(settle(1, 0, 300));
    let total = story.limit(LimitKind::TokensTotal);
    assert_eq!((total.limit, total.used), (Some(Quantity::Count(100)), Quantity::Count(300)));
    assert_eq!(total.remaining, Some(Quantity::Count(0)));
    assert_eq!(story.view().balance.tokens, -200);
}

#[test]
fn a_limit_below_what_is_used_leaves_nothing() {
    let story = account("{}")
        .does(free(consume(1, 500, 0)))
        .does(override_limits(r#"{"tokens_per_day": 100}"#));
    let day = story.limit(LimitKind::TokensPerDay);
    assert_eq!((day.limit, day.used), (Some(Quantity::Count(100)), Quantity::Count(500)));
    assert_eq!((day.remaining, day.level), (Some(Quantity::Count(0)), Some(Level::Exhausted)));
}

#[test]
fn a_suspension_is_shown_with_its_reason() {
    let view = account(r#"{"tokens_per_day": 1}"#).does(consume(1, 1, 0)).does(suspend()).view();
    assert_eq!(view.status, AccountStatus::Suspended, "before anything else");
    assert_eq!(view.suspended_for.as_deref(), Some("as agreed"));
}
