//! What answers to turn requests tell of the account: the headers that `OpenAI`'s clients pace
//! themselves by, and a warning of our own.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, TimeDelta, Utc};
use domain::quota::{AccountView, LimitKind, LimitView, Quantity};

/// The limits of which little is left, as `tokens_per_day=critical, …`.
const WARNING: HeaderName = HeaderName::from_static("x-quota-warning");
/// `OpenAI`'s clients obey it.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The headers of one unit.
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

const REQUESTS: Names = Names {
    limit: HeaderName::from_static("x-ratelimit-limit-requests"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-requests"),
    reset: HeaderName::from_static("x-ratelimit-reset-requests"),
};
const TOKENS: Names = Names {
    limit: HeaderName::from_static("x-ratelimit-limit-tokens"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-tokens"),
    reset: HeaderName::from_static("x-ratelimit-reset-tokens"),
};

/// All of them: browsers show scripts only those that are named.
pub(crate) fn names() -> impl Iterator<Item = HeaderName> {
    let of = |names: Names| [names.limit, names.remaining, names.reset];
    of(REQUESTS).into_iter().chain(of(TOKENS)).chain([WARNING, SHOULD_RETRY])
}

/// The account that an answer is about, put onto the answer as an extension: it becomes headers
/// at the edge, where the time is known.
#[derive(Debug, Clone)]
pub(crate) struct About(pub(crate) Box<AccountView>);

/// Puts the state of `account` at `now` onto an answer.
pub(crate) fn set(headers: &mut HeaderMap, account: &AccountView, now: DateTime<Utc>) {
    let requests = account.limits.iter().find(|limit| limit.kind == LimitKind::RequestsPerMinute);
    if let Some(limit) = requests {
        set_limit(headers, &REQUESTS, limit, Some(requests_reset(limit, now)));
    }
    if let Some(limit) = tightest(account) {
        let reset = limit.renews_at.map(|at| at - now);
        set_limit(headers, &TOKENS, limit, reset);
    }
    let low = account
        .limits
        .iter()
        .filter_map(|limit| limit.level.map(|level| format!("{}={}", limit.kind, level.as_str())));
    let low = low.collect::<Vec<_>>().join(", ");
    if !low.is_empty() {
        insert(headers, &WARNING, &low);
    }
}

fn set_limit(headers: &mut HeaderMap, names: &Names, limit: &LimitView, reset: Option<TimeDelta>) {
    let (Some(of), Some(remaining)) = (limit.limit, limit.remaining) else { return };
    insert(headers, &names.limit, &of.to_string());
    insert(headers, &names.remaining, &remaining.to_string());
    if let Some(reset) = reset {
        insert(headers, &names.reset, &duration(reset));
    }
}

/// When there is room again; while there is, when all of it is free: a minute after the newest
/// request, which is the one that is answered.
fn requests_reset(limit: &LimitView, now: DateTime<Utc>) -> TimeDelta {
    match limit.renews_at {
        Some(at) => at - now,
        None if limit.used == Quantity::Count(0) => TimeDelta::zero(),
        None => TimeDelta::minutes(1),
    }
}

/// The limit of tokens of which least is left.
fn tightest(account: &AccountView) -> Option<&LimitView> {
    let tokens = account.limits.iter().filter_map(|limit| match (limit.kind, limit.remaining) {
        (
            LimitKind::TokensPerDay | LimitKind::TokensPerMonth | LimitKind::TokensTotal,
            Some(Quantity::Count(remaining)),
        ) => Some((remaining, limit)),
        _ => None,
    });
    tokens.min_by_key(|(remaining, _)| *remaining).map(|(_, limit)| limit)
}

fn insert(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name.clone(), value);
    }
}

/// A time as `OpenAI` writes it: `850ms`, `12s`, `6m0s`, `23h59m59s`; rounded up.
fn duration(time: TimeDelta) -> String {
    let milliseconds = time.num_milliseconds().max(0);
    if (1..1000).contains(&milliseconds) {
        return format!("{milliseconds}ms");
    }
    let seconds = seconds_up(time);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Whole seconds, rounded up; none are negative.
pub(super) fn seconds_up(time: TimeDelta) -> u64 {
    let milliseconds = u64::try_from(time.num_milliseconds()).unwrap_or(0);
    milliseconds.div_ceil(1000)
}

#[cfg(test)]
mod tests;
