//! Telling that little is left: at a fifth, at a tenth, at nothing; each once.

use domain::TurnId;
use domain::quota::{Level, LimitKind, Quantity, QuotaCommand, QuotaEvent, ResetScope, Threshold};

use crate::given::{
    Story, account, adjust, change_tier, consume, credits, entry, free, override_limits, recharge,
    reserve, reset, settle, utc,
};

const DAY: &str = r#"{"tokens_per_day": 1000}"#;
const TOTAL: &str = r#"{"tokens_total": 1000}"#;

fn told(events: &[QuotaEvent]) -> Vec<(LimitKind, Level)> {
    let threshold = |event: &QuotaEvent| match event {
        QuotaEvent::ThresholdCrossed { threshold, .. } => Some((threshold.limit, threshold.level)),
        _ => None,
    };
    events.iter().filter_map(threshold).collect()
}

/// The levels that `command` tells of.
fn levels(story: &Story, command: QuotaCommand) -> Vec<Level> {
    told(&story.events_of(command)).into_iter().map(|(_, level)| level).collect()
}

fn used(number: u128, tokens: u32) -> QuotaCommand {
    free(consume(number, tokens, 0))
}

#[test]
fn each_level_is_told_of_when_it_is_reached_exactly() {
    for json in [DAY, r#"{"tokens_per_month": 1000}"#, TOTAL] {
        let story = account(json).does(used(1, 799));
        assert_eq!(told(&story.events), []);
        assert_eq!(levels(&story, used(2, 1)), [Level::Warning]);
        let story = story.does(used(2, 1)).does(used(3, 99));
        assert_eq!(told(&story.events).len(), 1);
        assert_eq!(levels(&story, used(4, 1)), [Level::Critical]);
        let story = story.does(used(4, 1)).does(used(5, 99));
        assert_eq!(told(&story.events).len(), 2);
        assert_eq!(levels(&story, used(6, 1)), [Level::Exhausted]);
    }
}

#[test]
fn so_it_is_with_money() {
    for json in [
        r#"{"credits_per_day": "1"}"#,
        r#"{"credits_per_month": "1"}"#,
        r#"{"credit_balance": "1"}"#,
    ] {
        let story = account(json).does(consume(1, 799, 0));
        assert_eq!(told(&story.events), []);
        assert_eq!(levels(&story, consume(2, 1, 0)), [Level::Warning]);
        let story = story.does(consume(2, 1, 0)).does(consume(3, 100, 0)).does(consume(4, 0, 50));
        let levels: Vec<Level> = told(&story.events).into_iter().map(|(_, level)| level).collect();
        assert_eq!(levels, Level::ALL);
    }
}

#[test]
fn a_jump_tells_of_every_level_on_its_way() {
    let story = account(DAY).does(reserve(1, 500, 500));
    let events = story.events_of(settle(1, 500, 450));
    let threshold = |level| QuotaEvent::ThresholdCrossed {
        threshold: Threshold {
            limit: LimitKind::TokensPerDay,
            level,
            window: Some(utc("2026-01-15T00:00:00Z").date_naive()),
            left: Quantity::Count(50),
            of: Quantity::Count(1000),
        },
        turn_id: Some(TurnId(entry(1))),
        at: utc("2026-01-15T12:00:00Z"),
    };
    assert_eq!(events[1..], [threshold(Level::Warning), threshold(Level::Critical)]);
}

#[test]
fn money_that_is_left_is_told_as_money() {
    let story = account(r#"{"credit_balance": "1"}"#);
    let events = story.events_of(consume(1, 850, 0));
    let QuotaEvent::ThresholdCrossed { threshold, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!(threshold.left, Quantity::Credits(credits("0.15")));
    assert_eq!((threshold.of, threshold.window), (Quantity::Credits(credits("1")), None));
}

/// It may come back.
#[test]
fn what_is_only_held_is_not_told_of() {
    let story = account(DAY).does(reserve(1, 500, 500));
    assert_eq!(told(&story.events), []);
    assert_eq!(levels(&story, settle(1, 10, 10)), []);
}

#[test]
fn a_window_is_told_of_once_and_the_next_one_again() {
    let story = account(DAY).does(used(1, 1000)).at("2026-01-16T00:00:00Z");
    assert_eq!(levels(&story, used(2, 850)), [Level::Warning]);
    let story = story.does(used(2, 850));
    assert_eq!(levels(&story, used(3, 10)), []);
    // What was told yesterday was more: today starts anew all the same.
    assert_eq!(levels(&story, used(3, 100)), [Level::Critical]);
}

#[test]
fn a_day_and_its_month_are_told_apart() {
    let story = account(r#"{"tokens_per_day": 1000, "tokens_per_month": 1000}"#);
    let events = story.events_of(used(1, 800));
    let both = [LimitKind::TokensPerDay, LimitKind::TokensPerMonth];
    assert_eq!(told(&events), both.map(|limit| (limit, Level::Warning)));
    let story = story.does(used(1, 800)).at("2026-01-16T00:00:00Z");
    let story = story.does(used(2, 100));
    assert_eq!(told(&story.events)[2..], [(LimitKind::TokensPerMonth, Level::Critical)]);
}

/// The window is the same one: whoever listens has heard of it.
#[test]
fn a_reset_day_is_not_told_of_again() {
    for scope in [ResetScope::Day, ResetScope::All] {
        let story = account(DAY).does(used(1, 900)).does(reset(scope));
        assert_eq!(levels(&story, used(2, 950)), []);
        assert_eq!(levels(&story, used(2, 1000)), [Level::Exhausted]);
    }
}

#[test]
fn a_recharge_starts_anew() {
    let story = account(TOTAL).does(used(1, 1000)).does(recharge(2, 500, "0"));
    assert_eq!(told(&story.events).len(), 3);
    assert_eq!(levels(&story, used(3, 399)), [], "a fifth of what there was after the recharge");
    assert_eq!(levels(&story, used(3, 400)), [Level::Warning]);
    // Recharged while there is some left, the whole counts.
    let story = story.does(used(3, 400)).does(recharge(4, 900, "0"));
    assert_eq!(levels(&story, used(5, 799)), []);
    assert_eq!(levels(&story, used(5, 800)), [Level::Warning]);
}

#[test]
fn money_that_is_recharged_is_told_of_again() {
    let story = account(r#"{"credit_balance": "1"}"#).does(consume(1, 1000, 0));
    let story = story.does(recharge(2, 0, "0.5"));
    assert_eq!(levels(&story, consume(3, 450, 0)), [Level::Warning, Level::Critical]);
}

#[test]
fn a_recharge_of_one_is_none_of_the_other() {
    let story =
        account(r#"{"tokens_total": 1000, "credit_balance": "1"}"#).does(consume(1, 950, 0));
    let story = story.does(recharge(2, 0, "9"));
    assert_eq!(levels(&story, consume(3, 10, 0)), []);
    let story = story.does(recharge(4, 950, "0"));
    assert_eq!(
        told(&story.events_of(consume(5, 900, 0))),
        [(LimitKind::TokensTotal, Level::Warning), (LimitKind::TokensTotal, Level::Critical),]
    );
}

/// Nothing was left, and nothing is.
#[test]
fn a_recharge_that_does_not_pay_the_debt_tells_nothing_again() {
    let story = account(TOTAL).does(reserve(1, 0, 1000)).does(settle(1, 0, 3000));
    assert_eq!(told(&story.events).len(), 3);
    let story = story.does(recharge(2, 500, "0")).does(reserve(3, 0, 0));
    assert_eq!(levels(&story, settle(3, 10, 0)), []);
    // 1,490 below nothing, then 10 above.
    let story = story.does(settle(3, 0, 0)).does(recharge(4, 1510, "0"));
    assert_eq!(levels(&story, used(5, 10)), Level::ALL);
}

#[test]
fn a_reset_balance_starts_anew() {
    let story = account(TOTAL).does(used(1, 1000)).does(reset(ResetScope::Balance));
    assert_eq!(levels(&story, used(2, 800)), [Level::Warning]);
}

#[test]
fn lower_limits_are_told_of_at_once() {
    let story = account(r#"{"tokens_per_day": 5000}"#).does(used(1, 900));
    assert_eq!(
        levels(&story, override_limits(r#"{"tokens_per_day": 1000}"#)),
        [Level::Warning, Level::Critical]
    );
    let story = account("{}").does(used(1, 9500));
    assert_eq!(
        told(&story.events_of(change_tier("pro"))),
        [(LimitKind::TokensPerDay, Level::Warning), (LimitKind::TokensPerDay, Level::Critical),]
    );
}

/// 400 of 500 are left, not 400 of 1000.
#[test]
fn a_smaller_grant_is_measured_by_itself() {
    let story = account(TOTAL).does(used(1, 100)).does(override_limits(r#"{"tokens_total": 500}"#));
    assert_eq!(told(&story.events), []);
    assert_eq!(levels(&story, used(2, 299)), []);
    assert_eq!(levels(&story, used(2, 300)), [Level::Warning]);
}

#[test]
fn a_deduction_is_told_of() {
    let story = account(TOTAL);
    assert_eq!(levels(&story, adjust(1, -800, "0")), [Level::Warning]);
    assert_eq!(levels(&story, adjust(1, -799, "0")), []);
}

#[test]
fn what_is_unlimited_is_never_told_of() {
    let story = account("{}").all((0..20).map(|number| consume(number, 4_000_000_000, 0)));
    assert_eq!(told(&story.events), []);
}

#[test]
fn one_token_is_enough_to_be_told_of_three_times_at_most() {
    let story = account(r#"{"tokens_per_day": 1}"#);
    assert_eq!(levels(&story, used(1, 1)), Level::ALL);
}
