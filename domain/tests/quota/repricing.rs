//! A price that was wrong is corrected afterwards, as if the right one had been charged.

use domain::quota::{QuotaCommand, QuotaEvent, Repriced, ResetScope};

use crate::given::{
    Story, account, amount, consume, credits, entry, posting, price, recharge, reserve, reset,
    root, sum, utc,
};

const LIMITS: &str =
    r#"{"credits_per_day": "2", "credits_per_month": "3", "credit_balance": "10"}"#;

/// The consumption called `number`, of `consumed_at`, costs so much less (or more).
fn reprice(number: u128, consumed_at: &str, change: &str) -> QuotaCommand {
    QuotaCommand::PostAdjustment {
        entry_id: entry(1000 + number),
        change: sum(0, change),
        reprices: Some(Repriced {
            entry_id: entry(number),
            service: "chat".to_owned(),
            model: "small".to_owned(),
            consumed_at: utc(consumed_at),
            price: Some(price()),
        }),
        reason: "the price was wrong".to_owned(),
    }
}

/// What today, this month and altogether were used, and the balance.
fn money(story: &Story) -> [String; 4] {
    let account = &story.account;
    [
        account.day.used.credits,
        account.month.used.credits,
        account.used.credits,
        account.balance.credits,
    ]
    .map(|credits| credits.to_string())
}

const MORNING: &str = "2026-01-15T12:00:00Z";

#[test]
fn today_s_entry_counts_everywhere() {
    let story = account(LIMITS).does(consume(1, 1000, 0));
    let dearer = reprice(1, MORNING, "-0.5");
    let QuotaCommand::PostAdjustment { reprices, .. } = dearer.clone() else { unreachable!() };
    story.when(dearer.clone()).then_expect_events(vec![QuotaEvent::AdjustmentPosted {
        entry_id: entry(1001),
        posting: posting(sum(0, "-0.5"), sum(-1000, "8.5")),
        reprices,
        reason: "the price was wrong".to_owned(),
        by: root().user_id,
        at: utc(MORNING),
    }]);
    assert_eq!(money(&story.clone().does(dearer)), ["1.5", "1.5", "1.5", "8.5"]);
    let cheaper = story.does(reprice(1, MORNING, "0.75"));
    assert_eq!(money(&cheaper), ["0.25", "0.25", "0.25", "9.75"]);
    assert_eq!(cheaper.account.day.used, amount(1000, "0.25"));
}

#[test]
fn an_earlier_day_s_entry_counts_in_the_month() {
    let story = account(LIMITS)
        .does(consume(1, 1000, 0))
        .at("2026-01-16T09:00:00Z")
        .does(consume(2, 500, 0))
        .does(reprice(1, MORNING, "0.25"));
    assert_eq!(money(&story), ["0.5", "1.25", "1.25", "8.75"]);
}

#[test]
fn an_earlier_month_s_entry_counts_in_the_balance_only() {
    let story = account(LIMITS)
        .does(consume(1, 1000, 0))
        .at("2026-02-15T12:00:00Z")
        .does(consume(2, 500, 0))
        .does(reprice(1, MORNING, "0.25"));
    assert_eq!(money(&story), ["0.5", "0.5", "1.25", "8.75"]);
}

/// The correction itself is the first that happens on the new day.
#[test]
fn a_day_that_has_ended_is_left_alone() {
    let story = account(LIMITS)
        .does(consume(1, 1000, 0))
        .at("2026-01-16T00:00:00Z")
        .does(reprice(1, MORNING, "-0.5"));
    assert_eq!(money(&story), ["0", "1.5", "1.5", "8.5"]);
}

#[test]
fn what_a_reset_forgot_is_not_corrected() {
    let story = account(LIMITS)
        .does(consume(1, 1000, 0))
        .at("2026-01-15T13:00:00Z")
        .does(reset(ResetScope::Day))
        .at("2026-01-15T14:00:00Z")
        .does(consume(2, 500, 0));
    let earlier = story.clone().does(reprice(1, MORNING, "0.75"));
    assert_eq!(money(&earlier), ["0.5", "0.75", "0.75", "9.25"]);
    let later = story.does(reprice(2, "2026-01-15T14:00:00Z", "0.25"));
    assert_eq!(money(&later), ["0.25", "1.25", "1.25", "8.75"]);
}

#[test]
fn a_dearer_price_may_exhaust_and_says_so() {
    let story = account(LIMITS).does(consume(1, 1000, 0));
    let names = story.names_of(reprice(1, MORNING, "-1"));
    assert_eq!(names[0], "AdjustmentPosted");
    assert_eq!(names[1..], ["ThresholdCrossed"; 3], "the day is used up");
    let story = story.does(reprice(1, MORNING, "-1"));
    assert_eq!(story.refusal(reserve(2, 1, 0)).code(), "insufficient_quota");
    let story = story.does(reprice(1, MORNING, "1"));
    assert_eq!(story.names_of(reserve(2, 1, 0)), ["QuotaReserved"]);
}

/// Somebody who gets back what was charged too much has not paid anything in.
#[test]
fn a_cheaper_price_is_no_recharge() {
    let story = account(r#"{"credit_balance": "1"}"#).does(consume(1, 850, 0));
    let story = story.does(reprice(1, MORNING, "0.05"));
    assert_eq!(story.account.balance_base.credits, credits("1"));
    let names = story.names_of(consume(2, 10, 0));
    assert_eq!(names, ["QuotaConsumed"], "it was told of before");
    let recharged = story.does(recharge(3, 0, "1"));
    assert_eq!(recharged.account.balance_base.credits, credits("1.2"));
}

#[test]
fn tokens_have_no_price() {
    let story = account(LIMITS).does(consume(1, 1000, 0));
    let QuotaCommand::PostAdjustment { entry_id, reprices, reason, .. } = reprice(1, MORNING, "1")
    else {
        unreachable!()
    };
    let wrong = QuotaCommand::PostAdjustment { entry_id, change: sum(1, "1"), reprices, reason };
    assert_eq!(story.refusal(wrong).field(), Some("tokens"));
    assert_eq!(story.refusal(reprice(1, MORNING, "0")).field(), Some("credits"));
}
