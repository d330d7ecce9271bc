//! What clients read off the headers.

use domain::quota::{AccountStatus, Level, Sum};

use super::*;

fn limit(kind: LimitKind, of: u64, used: u64, renews_in: Option<i64>) -> LimitView {
    LimitView {
        kind,
        limit: Some(Quantity::Count(of)),
        used: Quantity::Count(used),
        reserved: Quantity::Count(0),
        remaining: Some(Quantity::Count(of - used)),
        renews_at: renews_in.map(|seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)),
        level: None,
    }
}

fn told(limits: Vec<LimitView>) -> Vec<String> {
    let account = AccountView {
        tier: "free".to_owned(),
        status: AccountStatus::Active,
        suspended_for: None,
        balance: Sum::default(),
        limits,
    };
    let mut headers = HeaderMap::new();
    set(&mut headers, &account, DateTime::UNIX_EPOCH);
    let mut told: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    told.sort();
    told
}

#[test]
fn the_tightest_limit_of_tokens_is_told() {
    let limits = vec![
        limit(LimitKind::RequestsPerMinute, 20, 3, None),
        limit(LimitKind::TokensPerDay, 1000, 100, Some(3600)),
        limit(LimitKind::TokensPerMonth, 5000, 4500, Some(90_000)),
    ];
    assert_eq!(
        told(limits),
        [
            "x-ratelimit-limit-requests: 20",
            "x-ratelimit-limit-tokens: 5000",
            "x-ratelimit-remaining-requests: 17",
            "x-ratelimit-remaining-tokens: 500",
            "x-ratelimit-reset-requests: 1m0s",
            "x-ratelimit-reset-tokens: 25h0m0s",
        ]
    );
}

#[test]
fn a_total_never_resets_and_little_is_warned_of() {
    let mut total = limit(LimitKind::TokensTotal, 100, 95, None);
    total.level = Some(Level::Critical);
    let mut month = limit(LimitKind::TokensPerMonth, 100, 80, Some(1));
    month.level = Some(Level::Warning);
    assert_eq!(
        told(vec![month, total]),
        [
            "x-quota-warning: tokens_per_month=warning, tokens_total=critical",
            "x-ratelimit-limit-tokens: 100",
            "x-ratelimit-remaining-tokens: 5",
        ]
    );
}

#[test]
fn what_is_not_limited_is_not_told() {
    let unlimited =
        LimitView { limit: None, remaining: None, ..limit(LimitKind::TokensPerDay, 9, 3, Some(1)) };
    let requests = LimitView { kind: LimitKind::RequestsPerMinute, ..unlimited.clone() };
    assert_eq!(told(vec![requests, unlimited]), [] as [&str; 0]);
}

#[test]
fn a_full_minute_says_when_there_is_room() {
    let full = limit(LimitKind::RequestsPerMinute, 20, 20, Some(7));
    assert_eq!(told(vec![full])[2], "x-ratelimit-reset-requests: 7s");
}

#[test]
fn durations_are_written_as_openai_does() {
    for (milliseconds, text) in [
        (-5, "0s"),
        (0, "0s"),
        (850, "850ms"),
        (1000, "1s"),
        (1001, "2s"),
        (360_000, "6m0s"),
        (86_399_000, "23h59m59s"),
    ] {
        assert_eq!(duration(TimeDelta::milliseconds(milliseconds)), text);
    }
}
