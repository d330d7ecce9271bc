//! Requests within any sixty seconds.

use chrono::TimeDelta;
use domain::quota::{LimitKind, Quantity, QuotaRejection, QuotaRejectionKind, ResetScope};

use crate::given::{
    Story, account, consume, extend, override_limits, release, reserve, reset, settle, utc,
};

const THREE: &str = r#"{"requests_per_minute": 3}"#;

fn three() -> Story {
    account(THREE)
        .at("2026-01-15T12:00:00Z")
        .does(reserve(1, 1, 1))
        .at("2026-01-15T12:00:20Z")
        .does(consume(2, 1, 1))
        .at("2026-01-15T12:00:40Z")
        .does(reserve(3, 1, 1))
}

fn used(story: &Story) -> Quantity {
    story.limit(LimitKind::RequestsPerMinute).used
}

#[test]
fn the_fourth_of_three_waits_for_the_first_to_be_a_minute_old() {
    let story = three().at("2026-01-15T12:00:59.999Z");
    let refusal = story.refusal(reserve(4, 1, 1));
    assert_eq!(
        refusal,
        QuotaRejection::Exceeded {
            limit: LimitKind::RequestsPerMinute,
            needed: Quantity::Count(1),
            left: Quantity::Count(0),
            of: Quantity::Count(3),
            renews_at: Some(utc("2026-01-15T12:01:00Z")),
        }
    );
    assert_eq!(refusal.kind(), QuotaRejectionKind::RateLimited);
    assert_eq!(refusal.code(), "rate_limit_exceeded");
    assert_eq!(story.refusal(consume(4, 1, 1)).code(), "rate_limit_exceeded");
    let story = story.at("2026-01-15T12:01:00Z").does(reserve(4, 1, 1));
    // The window slides: the next place is free when the second is a minute old.
    let story = story.at("2026-01-15T12:01:19.999Z");
    assert_eq!(story.refusal(reserve(5, 1, 1)).code(), "rate_limit_exceeded");
    assert_eq!(story.at("2026-01-15T12:01:20Z").names_of(reserve(5, 1, 1)), ["QuotaReserved"]);
}

/// A minute of the clock is not what counts: three at its end and three at the next one's
/// beginning would be six within a second.
#[test]
fn there_is_no_burst_at_the_turn_of_a_minute() {
    let story = account(THREE)
        .at("2026-01-15T12:00:59Z")
        .all([reserve(1, 1, 1), reserve(2, 1, 1), reserve(3, 1, 1)])
        .at("2026-01-15T12:01:00Z");
    assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
}

#[test]
fn only_new_turns_are_requests() {
    let story = three();
    assert_eq!(story.names_of(extend(1, 10)), ["QuotaReserved"]);
    assert_eq!(story.names_of(settle(1, 1, 1)), ["QuotaConsumed"]);
    story.when(reserve(3, 1, 1)).then_expect_events(vec![]);
    // A turn that failed was a request all the same.
    let story = story.does(release(1)).does(extend(3, 10)).does(settle(3, 1, 1));
    assert_eq!(used(&story), Quantity::Count(3));
    assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
}

#[test]
fn a_refused_request_counts_nothing() {
    let story = three().at("2026-01-15T12:00:50Z");
    for _ in 0..10 {
        assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
    }
    assert_eq!(story.at("2026-01-15T12:01:00Z").names_of(reserve(4, 1, 1)), ["QuotaReserved"]);
}

#[test]
fn a_lower_limit_counts_what_there_was() {
    let story = three().does(override_limits(r#"{"requests_per_minute": 1}"#));
    let refusal = story.refusal(reserve(4, 1, 1));
    let QuotaRejection::Exceeded { renews_at, of, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(of, Quantity::Count(1));
    assert_eq!(renews_at, Some(utc("2026-01-15T12:01:40Z")), "when the last one is a minute old");
    let story = story.at("2026-01-15T12:01:39.999Z");
    assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
    let story = story.at("2026-01-15T12:01:40Z").does(reserve(4, 1, 1));
    assert_eq!(story.account.recent.len(), 1);
}

#[test]
fn a_higher_limit_makes_room_at_once() {
    let story = three().does(override_limits(r#"{"requests_per_minute": 5}"#));
    let story = story.does(reserve(4, 1, 1)).does(reserve(5, 1, 1));
    assert_eq!(story.refusal(reserve(6, 1, 1)).code(), "rate_limit_exceeded");
    let story = story.does(override_limits(r#"{"requests_per_minute": 0}"#));
    assert_eq!(story.names_of(reserve(6, 1, 1)), ["QuotaReserved"]);
}

#[test]
fn a_reset_of_all_forgets_the_minute() {
    let story = three().does(reset(ResetScope::Day)).does(reset(ResetScope::Month));
    assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
    let story = story.does(reset(ResetScope::All));
    assert_eq!(story.names_of(reserve(4, 1, 1)), ["QuotaReserved"]);
}

#[test]
fn a_clock_that_goes_back_frees_nothing() {
    let story = three().at("2026-01-15T11:00:00Z");
    assert_eq!(story.refusal(reserve(4, 1, 1)).code(), "rate_limit_exceeded");
    let story = story.does(release(1)).at("2026-01-15T12:01:00Z").does(reserve(4, 1, 1));
    assert_eq!(used(&story), Quantity::Count(3));
}

#[test]
fn no_more_moments_are_kept_than_are_asked_for() {
    let mut story = account(r#"{"requests_per_minute": 60}"#);
    for turn in 0..500 {
        story = story.later(TimeDelta::seconds(1)).does(consume(turn, 1, 0));
        assert!(story.account.recent.len() <= 60);
    }
    let unlimited = account("{}").all((0..500).map(|turn| consume(turn, 1, 0)));
    assert!(unlimited.account.recent.is_empty());
}
