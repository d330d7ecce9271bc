//! Tier, limits, money, suspension.

use chrono::TimeDelta;
use domain::quota::{
    AccountStatus, LimitKind, LimitOverrides, Quantity, QuotaCommand, QuotaEvent, ResetScope,
};

use crate::given::{
    Story, account, activate, adjust, amount, change_tier, consume, credits, entry, free, limits,
    override_limits, posting, recharge, reserve, reset, root, settle, sum, suspend, utc,
};

const LIMITS: &str = r#"{"tokens_per_day": 1000, "tokens_total": 2000, "credit_balance": "5"}"#;

fn reason() -> String {
    "as agreed".to_owned()
}

fn posted(story: &Story) -> domain::quota::Posting {
    *story.events.iter().rev().find_map(QuotaEvent::posting).unwrap()
}

#[test]
fn a_recharge_adds_to_the_balance() {
    let story = account(LIMITS).does(free(consume(1, 1000, 0))).at("2026-01-16T00:00:00Z");
    story.when(recharge(7, 500, "2.5")).then_expect_events(vec![QuotaEvent::QuotaRecharged {
        entry_id: entry(7),
        posting: posting(sum(500, "2.5"), sum(1500, "7.5")),
        reason: reason(),
        by: root().user_id,
        at: utc("2026-01-16T00:00:00Z"),
    }]);
}

#[test]
fn a_recharge_while_exhausted_lets_turns_in_again() {
    let json = r#"{"credit_balance": "1"}"#;
    let story = account(json).does(reserve(1, 0, 500)).does(settle(1, 0, 600));
    assert_eq!(story.account.balance.credits, credits("-0.2"));
    assert_eq!(story.view().status, AccountStatus::Exhausted);
    assert_eq!(story.refusal(reserve(2, 1, 0)).code(), "insufficient_quota");
    let story = story.does(recharge(3, 0, "0.2"));
    assert_eq!(story.refusal(reserve(2, 1, 0)).code(), "insufficient_quota", "the debt is paid");
    let story = story.does(recharge(4, 0, "0.001"));
    assert_eq!(story.view().status, AccountStatus::Active);
    assert_eq!(story.names_of(reserve(2, 1, 0)), ["QuotaReserved"]);
}

/// Money is no more tokens a day.
#[test]
fn a_recharge_renews_no_window() {
    let story = account(LIMITS).does(free(consume(1, 1000, 0))).does(recharge(2, 9999, "99"));
    assert_eq!(story.refusal(reserve(3, 1, 0)).code(), "insufficient_quota");
    assert_eq!(story.account.day.used.tokens, 1000);
}

#[test]
fn another_tier_posts_the_difference_of_the_grants() {
    let story = account(LIMITS).does(free(consume(1, 700, 0)));
    let pro = story.context.policy.tiers["pro"].clone();
    story.when(change_tier("pro")).then_expect_events(vec![QuotaEvent::TierChanged {
        tier: "pro".to_owned(),
        limits: pro,
        posting: posting(sum(48000, "45"), sum(49300, "50")),
        reason: reason(),
        by: root().user_id,
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    let back = story.does(change_tier("pro")).does(change_tier("free"));
    assert_eq!(posted(&back), posting(sum(-48000, "-45"), sum(1300, "5")));
}

/// What is used of an unlimited account counts when it gets a limit altogether.
#[test]
fn from_unlimited_to_limited_and_back() {
    let story = account("{}").does(consume(1, 400, 0)).does(change_tier("pro"));
    assert_eq!(story.account.balance, sum(49600, "49.6"));
    let story = story.does(change_tier("open"));
    assert_eq!(story.account.balance, sum(-400, "-0.4"));
    assert_eq!(story.names_of(reserve(2, 9999, 9999)), ["QuotaReserved"]);
}

#[test]
fn a_tier_that_is_the_same_changes_nothing_unless_its_limits_did() {
    let mut story = account(LIMITS);
    story.when(change_tier("free")).then_expect_events(vec![]);
    story.context.policy = crate::given::policy(r#"{"tokens_total": 3000}"#).into();
    let events = story.events_of(change_tier("free"));
    let QuotaEvent::TierChanged { posting, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(posting.change, sum(1000, "-5"));
}

#[test]
fn limits_of_its_own_stay_with_another_tier() {
    let story = account(LIMITS).does(override_limits(r#"{"tokens_total": 7000}"#));
    assert_eq!(story.account.balance.tokens, 7000);
    let story = story.does(change_tier("pro"));
    assert_eq!(story.account.limits().tokens_total, 7000);
    assert_eq!(story.account.limits().tokens_per_day, 10000);
    assert_eq!(story.account.balance, sum(7000, "50"));
}

#[test]
fn limits_are_overridden_one_by_one() {
    let story = account(LIMITS);
    let overrides = LimitOverrides { tokens_per_day: Some(50), ..LimitOverrides::default() };
    let command = override_limits(r#"{"tokens_per_day": 50}"#);
    story.when(command.clone()).then_expect_events(vec![QuotaEvent::LimitsOverridden {
        overrides: overrides.clone(),
        posting: posting(sum(0, "0"), sum(2000, "5")),
        reason: reason(),
        by: root().user_id,
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    let story = story.does(command.clone());
    story.when(command).then_expect_events(vec![]);
    let story = story.does(override_limits(r#"{"requests_per_minute": 2}"#));
    assert_eq!(
        story.account.overrides,
        LimitOverrides { requests_per_minute: Some(2), ..overrides },
        "what is absent stays"
    );
    let story = story.does(override_limits(r#"{"tokens_per_day": null}"#));
    assert_eq!(story.account.overrides.tokens_per_day, None);
    assert_eq!(story.account.limits().tokens_per_day, 1000, "null takes it away");
    let story = story.does(override_limits(r#"{"tokens_per_day": 0}"#));
    assert_eq!(story.limit(LimitKind::TokensPerDay).limit, None, "0 is unlimited");
}

#[test]
fn another_tier_while_a_turn_holds() {
    let story = account(LIMITS).does(reserve(1, 100, 500)).does(change_tier("pro"));
    assert_eq!(story.account.held, amount(600, "1.1"));
    let story = story.does(settle(1, 100, 100));
    assert_eq!(story.account.balance, sum(49800, "49.7"));
    // Down again, below what is used: nothing is left, and nobody is stopped in the middle.
    let story = story.does(reserve(2, 0, 500)).does(override_limits(r#"{"tokens_per_day": 100}"#));
    assert_eq!(story.refusal(reserve(3, 1, 0)).code(), "insufficient_quota");
    assert!(story.names_of(settle(2, 0, 500)).contains(&"QuotaConsumed"));
}

#[test]
fn a_suspension_holds_until_it_is_lifted() {
    let story = account("{}");
    story.when(suspend()).then_expect_events(vec![QuotaEvent::QuotaSuspended {
        reason: reason(),
        by: root().user_id,
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    let story = story.does(suspend()).later(TimeDelta::days(400));
    assert_eq!(story.view().status, AccountStatus::Suspended);
    story.when(suspend()).then_expect_events(vec![]);
    let refusal = story.refusal(reserve(1, 1, 1));
    assert_eq!(refusal.code(), "account_suspended");
    assert_eq!(refusal.to_string(), "the account is suspended: as agreed");
    // Money is welcome all the same.
    assert_eq!(story.names_of(recharge(2, 0, "5")), ["QuotaRecharged"]);
    let story = story.does(activate());
    story.when(activate()).then_expect_events(vec![]);
    assert_eq!(story.names_of(reserve(1, 1, 1)), ["QuotaReserved"]);
}

#[test]
fn what_is_active_needs_no_reason_to_stay_so() {
    let activate = QuotaCommand::ActivateQuota { reason: String::new() };
    account("{}").when(activate.clone()).then_expect_events(vec![]);
    assert_eq!(account("{}").does(suspend()).names_of(activate), ["QuotaActivated"]);
}

#[test]
fn a_reset_forgets_what_its_scope_names() {
    let story = account(LIMITS)
        .does(consume(1, 300, 0))
        .does(recharge(2, 50, "1"))
        .does(reserve(3, 100, 100));
    let after = |scope| {
        let account = story.clone().does(reset(scope)).account;
        assert_eq!(account.held, amount(200, "0.3"), "what runs is held");
        let tokens = [account.day, account.month].map(|window| window.used.tokens);
        (tokens, account.used.tokens, account.balance)
    };
    assert_eq!(after(ResetScope::Day), ([0, 300], 300, sum(1750, "5.7")));
    assert_eq!(after(ResetScope::Month), ([300, 0], 300, sum(1750, "5.7")));
    assert_eq!(after(ResetScope::Balance), ([300, 300], 0, sum(2000, "5")));
    assert_eq!(after(ResetScope::All), ([0, 0], 0, sum(2000, "5")));
    let balance = story.does(reset(ResetScope::Balance));
    assert_eq!(posted(&balance), posting(sum(250, "-0.7"), sum(2000, "5")));
}

#[test]
fn an_adjustment_is_a_line_of_the_ledger() {
    let story = account(LIMITS);
    story.when(adjust(5, -300, "0.5")).then_expect_events(vec![QuotaEvent::AdjustmentPosted {
        entry_id: entry(5),
        posting: posting(sum(-300, "0.5"), sum(1700, "5.5")),
        reprices: None,
        reason: reason(),
        by: root().user_id,
        at: utc("2026-01-15T12:00:00Z"),
    }]);
    let story = story.does(adjust(5, -300, "0.5"));
    assert_eq!(story.account.day.used, amount(0, "0"), "nothing was used");
    assert_eq!(story.limit(LimitKind::TokensTotal).remaining, Some(Quantity::Count(1700)));
}

#[test]
fn tiers_are_kept_as_they_were() {
    let story = account(LIMITS);
    let mut later = story.clone();
    later.context.policy = crate::given::policy("{}").into();
    assert_eq!(later.account.limits(), limits(LIMITS), "a new configuration is for new accounts");
    assert_eq!(later.refusal(reserve(1, 1001, 0)).code(), "insufficient_quota");
}
