//! What nobody may do to an account, and what is no amount: refused, and nothing is written.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, invariants};

use super::support::{Tenant, account, account_path, admin, limit};

/// Every change of an account, with a good body.
fn changes() -> [(Method, &'static str, Value); 7] {
    [
        (Method::POST, "/tier", json!({ "tier": "vip", "reason": "r" })),
        (Method::PATCH, "/limits", json!({ "tokens_per_day": 0, "reason": "r" })),
        (Method::POST, "/recharge", json!({ "credits": "5", "reason": "r" })),
        (Method::POST, "/suspend", json!({ "reason": "r" })),
        (Method::POST, "/activate", json!({ "reason": "r" })),
        (Method::POST, "/reset", json!({ "scope": "all", "reason": "r" })),
        (Method::POST, "/adjust", json!({ "tokens": 5, "reason": "r" })),
    ]
}

async fn change(client: &Client, user: &str, rest: &str, body: &Value) -> tests::Answer {
    let method = changes().into_iter().find(|(_, path, _)| *path == rest).unwrap().0;
    client.send(client.request(method, &account_path(user, rest)).json(body)).await
}

/// The name of the command that a path stands for.
fn command(rest: &str) -> &'static str {
    match rest {
        "/tier" => "ChangeTier",
        "/limits" => "OverrideLimits",
        "/recharge" => "RechargeQuota",
        "/suspend" => "SuspendQuota",
        "/activate" => "ActivateQuota",
        "/reset" => "ResetQuota",
        _ => "PostAdjustment",
    }
}

#[tokio::test]
async fn money_is_for_admins_and_other_tenants_are_not_there() {
    let (tenant, other) = (Tenant::new().await, Tenant::new().await);
    limit(&tenant.olga, "ann", json!({ "tokens_per_day": 100 })).await;
    let ann = tenant.user("ann");
    let pool = tenant.cluster.pool().await;
    let written = async || {
        let theirs = invariants::events_of(&pool, &other.name).await;
        (invariants::events_of(&pool, &tenant.name).await, theirs)
    };
    let before = written().await;
    for (_, rest, body) in changes() {
        let refused = change(&ann, "ann", rest, &body).await.expect(403);
        assert_eq!(refused.code(), "admin_only", "{rest}");
        let mut named = body.clone();
        named["command"] = json!(command(rest));
        let refused = ann.post("/v1/commands", &named).await.expect(403);
        assert_eq!(refused.code(), "admin_only", "{rest}");
        // The admin of another tenant finds no such user, and makes none.
        let unknown = change(&other.olga, "ann", rest, &body).await.expect(404);
        assert_eq!(unknown.code(), "account_not_found", "{rest}");
        named["user_id"] = json!("ann");
        other.olga.post("/v1/commands", &named).await.expect(404);
        let nobody = change(&ann.with_token(None), "ann", rest, &body).await;
        assert_eq!(nobody.status, 401);
    }
    ann.post("/v1/admin/accounts", &json!({ "user_id": "bob" })).await.expect(403);
    for path in ["", "/transactions", "/statistics"] {
        ann.get(&account_path("ann", path)).await.expect(403);
        other.olga.get(&account_path("ann", path)).await.expect(404);
    }
    ann.get("/v1/admin/tiers").await.expect(403);
    other.olga.get("/v1/audit/accounts/ann").await.expect(404);
    // Others' use is not theirs to see or to add to.
    for path in
        ["/v1/usage?scope=tenant", "/v1/usage?user_id=bob", "/v1/quota/statistics?scope=tenant"]
    {
        assert_eq!(ann.get(path).await.expect(403).code(), "admin_only", "{path}");
    }
    let usage = json!({ "prompt_tokens": 1 });
    let consume = json!({ "user_id": "bob", "service": "s", "model": "m", "usage": usage });
    ann.post("/v1/quota/consume", &consume).await.expect(403);
    // Holds are for turns alone.
    for name in ["ReserveQuota", "ReleaseReservation", "ExpireReservation"] {
        let refused = tenant.olga.post("/v1/commands", &json!({ "command": name })).await;
        assert_eq!(refused.expect(400).code(), "unknown_command");
    }
    assert_eq!(written().await, before, "a refusal writes nothing");
}

/// Bodies that no change takes, and the field at fault.
fn bad_bodies() -> Vec<(&'static str, Value, &'static str)> {
    let mut bad = vec![
        ("/tier", json!({ "tier": "platinum", "reason": "r" }), "tier"),
        ("/tier", json!({ "reason": "r" }), "tier"),
        ("/tier", json!({ "tier": "vip", "until": "tomorrow" }), "until"),
        ("/limits", json!({ "tokens_per_year": 5 }), "tokens_per_year"),
        ("/limits", json!({ "requests_per_minute": 10_001 }), "requests_per_minute"),
        ("/limits", json!({ "tokens_total": 1_000_000_000_001_u64 }), "tokens_total"),
        ("/recharge", json!({ "credits": "0", "tokens": 0, "reason": "r" }), "credits"),
        ("/recharge", json!({ "reason": "r" }), "credits"),
        ("/recharge", json!({ "credits": "5", "reason": " " }), "reason"),
        ("/recharge", json!({ "credits": "5" }), "reason"),
        ("/recharge", json!({ "credits": "5", "reason": "r".repeat(501) }), "reason"),
        ("/recharge", json!({ "credits": "5", "reason": "r", "currency": "EUR" }), "currency"),
        ("/suspend", json!({}), "reason"),
        ("/reset", json!({ "scope": "week", "reason": "r" }), "scope"),
        ("/reset", json!({ "reason": "r" }), "scope"),
        ("/adjust", json!({ "credits": "1" }), "reason"),
        ("/adjust", json!({ "credits": "0", "reason": "r" }), "credits"),
        ("/adjust", json!({ "credits": "-1000000000001", "reason": "r" }), "credits"),
        ("/adjust", json!({ "tokens": 0.5, "reason": "r" }), "tokens"),
    ];
    for amount in [
        json!("-1"),
        json!(-0.5),
        json!("NaN"),
        json!("Infinity"),
        json!("1e400"),
        json!(1e300),
        json!("1,5"),
        json!(""),
        json!(true),
        json!([1]),
        json!("0x10"),
        json!("1000000000000.01"),
        json!("0.0000000000001"),
    ] {
        bad.push(("/recharge", json!({ "credits": amount, "reason": "r" }), "credits"));
        bad.push(("/limits", json!({ "credits_per_day": amount }), "credits_per_day"));
    }
    for count in [json!(-1), json!(1.5), json!("NaN"), json!(1e18), json!("ten")] {
        bad.push(("/recharge", json!({ "tokens": count, "reason": "r" }), "tokens"));
        bad.push(("/limits", json!({ "tokens_per_day": count }), "tokens_per_day"));
    }
    bad
}

#[tokio::test]
async fn what_is_no_amount_no_tier_or_no_reason_changes_nothing() {
    let tenant = Tenant::new().await;
    let limited = limit(&tenant.olga, "ann", json!({ "tokens_per_day": 100 })).await;
    let pool = tenant.cluster.pool().await;
    let before = invariants::events_of(&pool, &tenant.name).await;
    let stands = account(&tenant.user("ann"), limited.number("/position")).await.json;
    for (rest, body, field) in bad_bodies() {
        let refused = change(&tenant.olga, "ann", rest, &body).await;
        assert_eq!(refused.status, 400, "{rest} {body}: {}", refused.body);
        assert_eq!(refused.text("/field"), field, "{rest} {body}: {}", refused.body);
    }
    // What is no JSON at all, which JSON's readers elsewhere take.
    for text in
        ["{\"credits\": NaN, \"reason\": \"r\"}", "{\"credits\": 1e999, \"reason\": \"r\"}", "[]"]
    {
        let path = account_path("ann", "/recharge");
        let request = tenant.olga.request(Method::POST, &path).body(text);
        tenant.olga.send(request).await.expect(400);
    }
    let paid = json!({ "credits": 1, "reason": "r" });
    let unopened = change(&tenant.olga, "nobody", "/recharge", &paid).await.expect(404);
    assert_eq!(unopened.code(), "account_not_found");
    for usage in [
        json!({}),
        json!({ "prompt_tokens": -1 }),
        json!({ "tokens": 1 }),
        json!({ "prompt_tokens": 1, "cached_tokens": 2 }),
        json!({ "completion_tokens": 5e9 }),
    ] {
        let body = json!({ "service": "s", "model": "scripted", "usage": usage });
        tenant.user("ann").post("/v1/quota/consume", &body).await.expect(400);
    }
    assert_eq!(invariants::events_of(&pool, &tenant.name).await, before);
    assert_eq!(account(&tenant.user("ann"), 0).await.json, stands);
    // An admin of the tenant with the same token elsewhere is one, too.
    let at_b = admin(tenant.cluster, "b", &tenant.name);
    at_b.get(&account_path("ann", "")).await.expect(200);
}
