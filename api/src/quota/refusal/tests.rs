//! What a refused client is told.

use chrono::TimeDelta;
use domain::quota::{AccountStatus, LimitView, Sum};

use super::*;

fn refusal(limit: LimitKind, needed: u64, renews_in_ms: Option<i64>) -> ApiError {
    let renews_at = renews_in_ms.map(|ms| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms));
    let rejection = QuotaRejection::Exceeded {
        limit,
        needed: Quantity::Count(needed),
        left: Quantity::Count(5),
        of: Quantity::Count(100),
        renews_at,
    };
    let held = LimitView {
        kind: LimitKind::TokensPerDay,
        limit: Some(Quantity::Count(100)),
        used: Quantity::Count(85),
        reserved: Quantity::Count(10),
        remaining: Some(Quantity::Count(5)),
        renews_at,
        level: None,
    };
    let account = AccountView {
        tier: "free".to_owned(),
        status: AccountStatus::Active,
        suspended_for: None,
        balance: Sum::default(),
        limits: vec![held],
    };
    QuotaRefusal::error(rejection, Box::new(account))
}

fn header(error: &ApiError, name: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    error.quota.as_ref().unwrap().set_headers(&mut headers, DateTime::UNIX_EPOCH);
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_used_up_limit_says_when_to_come_again_and_stops_clients_from_retrying() {
    let error = refusal(LimitKind::TokensPerDay, 30, Some(3_600_001));
    assert_eq!((error.status.as_u16(), error.code.as_str()), (429, "insufficient_quota"));
    assert_eq!(header(&error, "retry-after").as_deref(), Some("3601"));
    assert_eq!(header(&error, "x-should-retry").as_deref(), Some("false"));
    assert_eq!(header(&error, "x-ratelimit-remaining-tokens").as_deref(), Some("5"));
    assert_eq!(
        error.detail,
        "tokens_per_day: 30 needed, 5 of 100 left; renews at 1970-01-01T01:00:00Z; running turns \
         hold 10 until they end; wait until then, ask for less, or have the limit raised"
    );
    let problem = error.problem("r");
    assert_eq!(problem["limit"], "tokens_per_day");
    assert_eq!(problem["needed"], 30);
    assert_eq!(error.openai(None)["error"]["type"], "insufficient_quota");
}

#[test]
fn what_never_fits_is_not_to_be_waited_for() {
    let forever = refusal(LimitKind::TokensTotal, 30, None);
    assert_eq!(header(&forever, "retry-after"), None);
    assert!(forever.detail.contains("recharge"), "{}", forever.detail);
}

#[test]
fn too_many_requests_may_be_tried_again() {
    let error = refusal(LimitKind::RequestsPerMinute, 1, Some(20));
    assert_eq!((error.status.as_u16(), error.code.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(header(&error, "retry-after").as_deref(), Some("1"));
    assert_eq!(header(&error, "x-should-retry"), None);
    assert_eq!(error.openai(None)["error"]["type"], "requests");
}

#[test]
fn a_suspended_account_says_why() {
    let error = ApiError::from(QuotaRejection::Suspended("unpaid".to_owned()));
    assert_eq!((error.status.as_u16(), error.code.as_str()), (403, "account_suspended"));
    assert!(error.detail.contains("unpaid"));
}

#[test]
fn what_running_turns_hold_may_come_back_soon() {
    let error = refusal(LimitKind::TokensPerDay, 15, Some(3_600_001));
    assert_eq!(header(&error, "retry-after").as_deref(), Some("5"));
    assert_eq!(header(&error, "x-should-retry"), None);
}
