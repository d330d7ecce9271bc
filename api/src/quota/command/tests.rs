//! Commands to accounts, good and bad.

use domain::quota::ResetScope;
use serde_json::json;

use super::*;

fn parse(name: &str, json: Value) -> Result<QuotaCommand, (String, Option<String>)> {
    let Value::Object(fields) = json else { panic!("an object") };
    read(name, fields.into(), Uuid::nil()).map_err(|error| (error.code, error.field))
}

#[test]
fn limits_are_set_and_taken_away() {
    let body = json!({"tokens_per_day": "5000", "credits_per_day": 0.5, "tokens_total": null});
    let expected = LimitsPatch {
        tokens_per_day: Some(Some(5000)),
        credits_per_day: Some(Some("0.5".parse().unwrap())),
        tokens_total: Some(None),
        ..LimitsPatch::default()
    };
    let (limits, reason) = (expected, String::new());
    let command = QuotaCommand::OverrideLimits { limits, reason };
    assert_eq!(parse("OverrideLimits", body), Ok(command));
}

#[test]
fn usage_is_an_object() {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5});
    let body = json!({"service": "search", "model": "m", "usage": usage});
    let Ok(QuotaCommand::ConsumeQuota(consume)) = parse("ConsumeQuota", body) else {
        panic!("a command")
    };
    assert_eq!((consume.usage.total_tokens(), consume.service.as_str()), (15, "search"));
}

#[test]
fn a_scope_is_one_of_four() {
    let command = QuotaCommand::ResetQuota { scope: ResetScope::Day, reason: "r".to_owned() };
    assert_eq!(parse("ResetQuota", json!({"scope": "day", "reason": "r"})), Ok(command));
}

#[test]
fn what_is_wrong_is_named() {
    let usage = |usage: Value| json!({"service": "s", "model": "m", "usage": usage});
    for (name, body, code, field) in [
        ("ChangeTier", json!({}), "invalid_body", "tier"),
        ("ChangeTier", json!({"tier": 3}), "invalid_field", "tier"),
        ("OpenAccount", json!({"limit": 3}), "invalid_body", "limit"),
        ("OverrideLimits", json!({"tokens_per_day": -1}), "invalid_field", "tokens_per_day"),
        ("OverrideLimits", json!({"tokens": 1, "tokens_total": 1}), "invalid_body", "tokens"),
        (
            "OverrideLimits",
            json!({"requests_per_minute": 1e12}),
            "invalid_field",
            "requests_per_minute",
        ),
        ("RechargeQuota", json!({"tokens": -1}), "invalid_field", "tokens"),
        ("RechargeQuota", json!({"credits": "NaN"}), "invalid_field", "credits"),
        ("PostAdjustment", json!({"tokens": 0.5}), "invalid_field", "tokens"),
        ("ResetQuota", json!({"scope": "week"}), "invalid_field", "scope"),
        ("ResetQuota", json!({}), "invalid_body", "scope"),
        ("ConsumeQuota", json!({"service": "s", "model": "m"}), "invalid_body", "usage"),
        ("ConsumeQuota", json!({"usage": {}}), "invalid_body", "service"),
        ("ConsumeQuota", usage(json!([1])), "invalid_field", "usage"),
        (
            "ConsumeQuota",
            usage(json!({"prompt_tokens": -1})),
            "invalid_field",
            "usage.prompt_tokens",
        ),
        (
            "ConsumeQuota",
            usage(json!({"completion_tokens": 5_000_000_000_u64})),
            "invalid_field",
            "usage.completion_tokens",
        ),
    ] {
        let expected = (code.to_owned(), Some(field.to_owned()));
        assert_eq!(parse(name, body.clone()), Err(expected), "{name} {body}");
    }
    assert_eq!(parse("OverrideLimits", json!({})).unwrap_err().0, "invalid_body");
}
