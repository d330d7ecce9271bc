//! An account's state is as small after a hundred thousand turns as after one.

use chrono::TimeDelta;
use domain::quota::Account;

use crate::given::{Story, account, expire, hold_id, reserve, settle};

const LIMITS: &str = r#"{"requests_per_minute": 60, "tokens_per_day": 1000000000,
    "tokens_per_month": 100000000000, "tokens_total": 1000000000000, "credits_per_day": "1000000",
    "credits_per_month": "100000000", "credit_balance": "1000000000"}"#;

/// One turn after the other, a second apart.
fn turns(mut story: Story, numbers: std::ops::Range<u128>) -> Story {
    for number in numbers {
        story = story.later(TimeDelta::seconds(1)).does(reserve(number, 1234, 567));
        story = story.does(settle(number, 1017, 333));
        story.events.clear();
    }
    story
}

#[test]
fn a_hundred_thousand_turns_leave_sums_behind() {
    let story = turns(account(LIMITS), 0..100_000);
    assert_eq!(story.account.used.tokens, 100_000 * 1350);
    assert_eq!(story.account.used.credits.to_string(), "168300");
    assert!(story.account.holds.is_empty());
    let json = serde_json::to_string(&story.account).unwrap();
    assert!(json.len() < 4096, "{} bytes: {json}", json.len());
    assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), story.account);
}

/// Each waits for its turn's end, however late; but not without bound.
#[test]
fn of_very_many_holds_that_nobody_settles_the_oldest_goes() {
    let mut story = account("{}");
    for number in 0..10_001 {
        story = story.later(TimeDelta::seconds(1)).does(reserve(number, 1, 0));
        story.events.clear();
    }
    story = story.later(TimeDelta::hours(1)).all((0..10_000).map(expire));
    assert_eq!(story.account.holds.len(), 10_001);
    story = story.does(expire(10_000));
    assert_eq!(story.account.holds.len(), 10_000);
    assert!(!story.account.holds.contains_key(&hold_id(0)));
    assert_eq!(story.account.held.tokens, 0);
}
