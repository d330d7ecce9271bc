//! Days and months, UTC, by the command's time.

use domain::quota::{LimitKind, QuotaRejection};

use crate::given::{Story, account, amount, consume, expire, free, recharge, reserve, settle, utc};

const DAY: &str = r#"{"tokens_per_day": 1000}"#;
const MONTH: &str = r#"{"tokens_per_month": 1000}"#;

fn renewal_of(story: &Story) -> String {
    match story.refusal(free(reserve(99, 1000, 0))) {
        QuotaRejection::Exceeded { renews_at: Some(at), .. } => at.to_rfc3339(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_day_begins_at_midnight() {
    let story = account(DAY).at("2026-01-15T23:59:59.999Z").does(consume(1, 900, 100));
    assert_eq!(story.refusal(consume(2, 1, 0)).code(), "insufficient_quota");
    let story = story.at("2026-01-16T00:00:00Z");
    assert_eq!(story.names_of(consume(2, 100, 0)), ["QuotaConsumed"]);
    let story = story.does(consume(2, 100, 0));
    assert_eq!(story.account.day.used.tokens, 100);
    assert_eq!(story.account.month.used.tokens, 1100);
    assert_eq!(story.account.used.tokens, 1100);
}

#[test]
fn days_without_use_need_no_event() {
    let story = account(DAY).does(consume(1, 1000, 0)).at("2026-09-01T00:00:00Z");
    assert_eq!(story.limit(LimitKind::TokensPerDay).used, domain::quota::Quantity::Count(0));
    assert_eq!(story.names_of(consume(2, 100, 0)), ["QuotaConsumed"]);
}

#[test]
fn a_hold_counts_in_the_day_that_it_reaches() {
    let story = account(DAY)
        .at("2026-01-15T23:55:00Z")
        .does(reserve(1, 100, 500))
        .at("2026-01-16T00:01:00Z");
    assert_eq!(story.refusal(reserve(2, 401, 0)).code(), "insufficient_quota");
    let story = story.does(reserve(2, 400, 0)).does(settle(1, 100, 500));
    assert_eq!(story.account.day.used.tokens, 600, "it is paid on the day on which it ends");
    assert_eq!(story.account.held.tokens, 400);
}

#[test]
fn a_hold_counts_in_the_month_that_it_reaches() {
    let story = account(MONTH)
        .at("2026-01-31T23:55:00Z")
        .does(consume(1, 300, 0))
        .does(reserve(2, 100, 500))
        .at("2026-02-01T00:01:00Z");
    assert_eq!(story.refusal(reserve(3, 401, 0)).code(), "insufficient_quota");
    let story = story.does(settle(2, 100, 400));
    assert_eq!(story.account.month.used, amount(500, "0.9"));
    assert_eq!(story.names_of(reserve(3, 500, 0)), ["QuotaReserved"]);
}

#[test]
fn a_month_ends_with_its_last_day() {
    for (last, first) in [
        ("2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
        ("2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"),
        ("2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
        ("2026-04-30T23:59:59Z", "2026-05-01T00:00:00Z"),
        ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("2100-02-28T23:59:59Z", "2100-03-01T00:00:00Z"),
    ] {
        for json in [DAY, MONTH] {
            let story = account(json).at(last).does(consume(1, 1000, 0));
            assert_eq!(renewal_of(&story), utc(first).to_rfc3339());
            let story = story.at(first).does(consume(2, 1, 0));
            assert_eq!(story.account.day.used.tokens, 1);
            assert_eq!(story.account.month.used.tokens, 1);
        }
    }
}

#[test]
fn the_28th_of_february_ends_no_leap_month() {
    let story = account(MONTH).at("2028-02-28T23:59:59Z").does(consume(1, 1000, 0));
    let story = story.at("2028-02-29T12:00:00Z");
    assert_eq!(story.refusal(consume(2, 1, 0)).code(), "insufficient_quota");
    assert_eq!(renewal_of(&story), utc("2028-03-01T00:00:00Z").to_rfc3339());
}

#[test]
fn the_same_day_of_another_year_is_another_day() {
    let story = account(DAY).does(consume(1, 1000, 0)).at("2027-01-15T12:00:00Z");
    assert_eq!(story.names_of(consume(2, 10, 0)), ["QuotaConsumed"]);
}

#[test]
fn offsets_do_not_matter() {
    let story = account(DAY).at("2026-01-16T01:30:00+02:00").does(consume(1, 1000, 0));
    assert_eq!(story.refusal(consume(2, 1, 0)).code(), "insufficient_quota");
    assert_eq!(renewal_of(&story), utc("2026-01-16T00:00:00Z").to_rfc3339());
}

/// Two processes, two clocks: what the faster one began, the slower one goes on with.
#[test]
fn a_slower_clock_does_not_bring_yesterday_back() {
    let story = account(DAY)
        .at("2026-01-31T23:59:59Z")
        .does(consume(1, 900, 0))
        .at("2026-02-01T00:00:01Z")
        .does(consume(2, 800, 0))
        .at("2026-01-31T23:59:58Z");
    assert_eq!(story.refusal(consume(3, 201, 0)).code(), "insufficient_quota");
    assert_eq!(renewal_of(&story), utc("2026-02-02T00:00:00Z").to_rfc3339());
    let story = story.does(consume(3, 200, 0));
    assert_eq!(story.events.last().unwrap().at(), utc("2026-02-01T00:00:01Z"));
    assert_eq!(story.account.day.used.tokens, 1000);
    assert_eq!(story.account.month.used.tokens, 1000);
    // Any event moves it on, not consumption only.
    let story = story.at("2026-02-03T00:00:00Z").does(recharge(4, 1, "1"));
    let story = story.at("2026-02-02T23:59:59Z").does(consume(5, 10, 0));
    assert_eq!(story.account.day.start, utc("2026-02-03T00:00:00Z").date_naive().into());
}

#[test]
fn a_hold_that_expired_yesterday_is_paid_today() {
    let story = account(DAY)
        .at("2026-01-15T23:00:00Z")
        .does(reserve(1, 100, 500))
        .at("2026-01-15T23:30:00Z")
        .does(expire(1))
        .at("2026-01-16T00:30:00Z")
        .does(settle(1, 100, 500));
    assert_eq!(story.account.day.used.tokens, 600);
}
