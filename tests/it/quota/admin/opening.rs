//! With which tier an account opens: what the token names, else the tenant's or the
//! deployment's default.

use serde_json::{Value, json};
use tests::{Client, token};

use super::open;
use crate::quota::support::{Tenant, account, account_path, admin, limit_of};

/// A token's bearer on node `a`.
fn bearer(tenant: &Tenant, user: &str, claims: &Value) -> Client {
    let mut all = json!({ "sub": user, "tenant_id": tenant.name, "exp": 4_102_444_800_u64 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    tenant.user(user).with_token(Some(token::sign(&all, token::SECRET)))
}

#[tokio::test]
async fn a_token_names_the_tier_that_its_user_begins_with() {
    let tenant = Tenant::new().await;
    for (user, claims, tier, day) in [
        ("rea", json!({ "role": "reader" }), "reader", json!(10_000)),
        ("wri", json!({ "role": "writer" }), "writer", json!(50_000)),
        ("vic", json!({ "role": "vip" }), "vip", json!(100_000)),
        ("pro", json!({ "tier": "pro" }), "pro", json!(1_000_000)),
        ("two", json!({ "role": "reader", "tier": "vip" }), "vip", json!(100_000)),
        ("odd", json!({ "role": "janitor", "tier": "gold" }), "unlimited", Value::Null),
        ("non", json!({}), "unlimited", Value::Null),
    ] {
        let client = bearer(&tenant, user, &claims);
        let before = client.get("/v1/quota").await.expect(200);
        assert_eq!((&before.json["exists"], before.text("/tier").as_str()), (&json!(false), tier));
        let position = open(&client).await;
        let after = account(&tenant.at_b(&client), position).await;
        assert_eq!((&after.json["exists"], after.text("/tier").as_str()), (&json!(true), tier));
        assert_eq!(limit_of(&after.json, "tokens_per_day")["limit"], day, "{user}");
    }
    // An account keeps its tier whatever a later token names: changing it is for admins.
    let promoted = bearer(&tenant, "rea", &json!({ "tier": "vip" }));
    let position = open(&promoted).await;
    assert_eq!(account(&promoted, position).await.text("/tier"), "reader");
    // Nor does naming a tier make anybody an admin.
    let vip = bearer(&tenant, "vic", &json!({ "role": "vip" }));
    vip.get("/v1/admin/accounts").await.expect(403);
    let listed = tenant.olga.get("/v1/admin/accounts?limit=3").await.expect(200);
    let users: Vec<_> = listed.data().iter().map(|one| one["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["non", "odd", "pro"]);
}

#[tokio::test]
async fn a_tenant_has_a_default_of_its_own() {
    let tenant = Tenant::new().await;
    let olga = admin(tenant.cluster, "a", "house");
    let tiers = olga.get("/v1/admin/tiers").await.expect(200);
    assert_eq!(tiers.text("/default_tier"), "roomy");
    assert!(tiers.data().iter().any(|tier| tier["name"] == "vip"));
    let ann = tenant.cluster.client("b", "house", "ann");
    let position = open(&ann).await;
    assert_eq!(account(&ann, position).await.text("/tier"), "roomy");
    // An admin opens one by hand, with a tier or without.
    for (user, tier, got) in [("bob", json!("vip"), "vip"), ("cid", Value::Null, "roomy")] {
        let opened = json!({ "user_id": user, "tier": tier });
        let opened = olga.post("/v1/admin/accounts", &opened).await.expect(201);
        assert_eq!(opened.text("/account/tier"), got);
    }
    // Names are anything printable, as identity providers have them.
    let odd = json!({ "user_id": "Zoë @ home/1?", "tier": "pro" });
    olga.post("/v1/admin/accounts", &odd).await.expect(201);
    let path = account_path("Zo%C3%AB%20%40%20home%2F1%3F", "");
    assert_eq!(olga.get(&path).await.expect(200).text("/user_id"), "Zoë @ home/1?");
    let again = olga.post("/v1/admin/accounts", &json!({ "user_id": "bob" })).await.expect(409);
    assert_eq!(again.code(), "account_exists");
}
