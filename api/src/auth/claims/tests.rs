//! Every claim, right and wrong.

use chrono::TimeZone;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn check_at(moment: DateTime<Utc>, claims: Value, expected: &Expected) -> Result<Identity, String> {
    let claims: Claims = serde_json::from_value(claims).unwrap();
    claims.identity(expected, moment).map_err(|error| format!("{}: {error}", error.code()))
}

fn check(changes: &Value) -> Result<Identity, String> {
    let mut claims = json!({"sub": "ada", "tenant_id": "acme", "exp": NOW + 60});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let expected = Expected {
        issuer: Some("https://id.example".to_owned()).filter(|_| changes.get("iss").is_some()),
        audience: Some("colloquy".to_owned()).filter(|_| changes.get("aud").is_some()),
        leeway: Duration::from_secs(10),
    };
    check_at(Utc.timestamp_opt(NOW, 0).unwrap(), claims, &expected)
}

#[test]
fn good_claims_make_an_actor() {
    let actor = check(&json!({"extra": [1, 2]})).unwrap().actor;
    assert_eq!(actor.tenant_id.as_str(), "acme");
    assert_eq!(actor.user_id.as_str(), "ada");
    assert_eq!(actor.role, ActorRole::User);
    for good in [
        json!({"iss": "https://id.example"}),
        json!({"aud": "colloquy"}),
        json!({"aud": ["other", "colloquy"]}),
        json!({"nbf": NOW}),
        json!({"exp": 1_800_000_000.5}),
    ] {
        assert!(check(&good).is_ok(), "{good}");
    }
}

#[test]
fn any_role_may_name_a_tier_but_only_admin_gives_rights() {
    for (claims, role, tier) in [
        (json!({}), ActorRole::User, None),
        (json!({"role": null}), ActorRole::User, None),
        (json!({"role": "user"}), ActorRole::User, Some("user")),
        (json!({"role": "premium"}), ActorRole::User, Some("premium")),
        (json!({"role": "system"}), ActorRole::User, Some("system")),
        (json!({"role": "Admin"}), ActorRole::User, Some("Admin")),
        (json!({"role": "admin"}), ActorRole::Admin, Some("admin")),
        (json!({"role": "admin", "tier": "basic"}), ActorRole::Admin, Some("basic")),
        (json!({"tier": "admin"}), ActorRole::User, Some("admin")),
        (json!({"role": "premium", "tier": null}), ActorRole::User, Some("premium")),
        (json!({"role": "premium", "tier": 3}), ActorRole::User, Some("premium")),
    ] {
        let identity = check(&claims).unwrap();
        assert_eq!(identity.actor.role, role, "{claims}");
        assert_eq!(identity.named_tier.as_deref(), tier, "{claims}");
    }
}

#[test]
fn bad_claims_are_told() {
    for (bad, word) in [
        (json!({"exp": null}), "exp"),
        (json!({"exp": "tomorrow"}), "exp"),
        (json!({"nbf": "now"}), "nbf"),
        (json!({"nbf": NOW + 11}), "not valid yet"),
        (json!({"iss": "https://evil.example"}), "iss"),
        (json!({"iss": null}), "iss"),
        (json!({"aud": "other"}), "aud"),
        (json!({"aud": []}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": 7}), "sub"),
        (json!({"sub": "a\nb"}), "sub"),
        (json!({"sub": "system"}), "reserved"),
        (json!({"tenant_id": null}), "tenant_id"),
        (json!({"tenant_id": "a.b"}), "tenant_id"),
        (json!({"tenant_id": "*"}), "tenant_id"),
        (json!({"tenant_id": "_deployment"}), "reserved"),
        (json!({"tenant_id": ["acme"]}), "tenant_id"),
        (json!({"tenant_id": "_deployment"}), "reserved"),
        (json!({"role": ["admin"]}), "role"),
    ] {
        let error = check(&bad).unwrap_err();
        assert!(error.starts_with("invalid_token") && error.contains(word), "{bad}: {error}");
    }
}

#[test]
fn time_is_exact_but_for_the_leeway() {
    assert!(check(&json!({"exp": NOW - 9})).is_ok());
    assert!(check(&json!({"exp": NOW - 10})).unwrap_err().starts_with("expired_token"));
    assert!(check(&json!({"exp": -1})).unwrap_err().starts_with("expired_token"));
    assert!(check(&json!({"nbf": NOW + 10})).is_ok());
}

#[test]
fn a_claim_that_must_match_must_be_there() {
    let expected = Expected {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("colloquy".to_owned()),
        leeway: Duration::ZERO,
    };
    let now = Utc.timestamp_opt(NOW, 0).unwrap();
    let claims = json!({"sub": "ada", "tenant_id": "acme", "exp": NOW + 60});
    assert!(check_at(now, claims.clone(), &expected).unwrap_err().contains("iss"));
    let expected = Expected { issuer: None, ..expected };
    assert!(check_at(now, claims, &expected).unwrap_err().contains("aud"));
}
