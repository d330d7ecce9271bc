//! Use that isn't a turn's, told by a service: charged where there is room, once.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::quota::support::{Tenant, assert_balanced, credits, limit_of};

fn use_of(prompt: u64, completion: u64) -> Value {
    let usage = json!({ "prompt_tokens": prompt, "completion_tokens": completion });
    json!({ "service": "writing", "model": "scripted", "usage": usage })
}

#[tokio::test]
async fn a_service_charges_while_there_is_room() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 1000 })).await;
    let charged = ann.post("/v1/quota/consume", &use_of(600, 100)).await.expect(200);
    assert_eq!(charged.header("x-ratelimit-remaining-tokens"), Some("300"));
    assert_eq!(limit_of(&charged.json["account"], "tokens_per_day")["used"], 700);
    let refused = ann.post("/v1/quota/consume", &use_of(300, 1)).await.expect(429);
    assert_eq!(refused.code(), "insufficient_quota");
    assert_eq!((refused.number("/needed"), refused.number("/left")), (301, 300));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    // A service with an admin's token, for its user.
    let mut theirs = use_of(300, 0);
    theirs["user_id"] = json!("ann");
    let charged = tenant.at_b(&tenant.olga).post("/v1/quota/consume", &theirs).await.expect(200);
    assert_eq!(charged.header("x-quota-warning"), Some("tokens_per_day=exhausted"));
    let lines = assert_balanced(&ann, charged.number("/position")).await;
    assert_eq!(lines.len(), 2);
    let line = &lines[0];
    assert_eq!(line["entry_id"].as_str().map(str::len), Some(36));
    assert_eq!((&line["turn_id"], &line["service"]), (&Value::Null, &json!("writing")));
    assert_eq!(credits(&line["credits"]).to_string(), "-0.8");
    assert_eq!(line["price"], json!({ "input_per_1k": "1", "output_per_1k": "2" }));
}

/// Reports have a line for each service and model: users don't make names up.
#[tokio::test]
async fn users_name_models_that_there_are() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let named = |service: &str, model: &str| json!({ "service": service, "model": model, "usage": { "prompt_tokens": 1 } });
    let unknown = ann.post("/v1/quota/consume", &named("search", "made-up")).await.expect(404);
    assert_eq!((unknown.code(), &unknown.json["field"]), ("model_not_found", &json!("model")));
    let mut command = named("search", "made-up");
    command["command"] = json!("ConsumeQuota");
    ann.post("/v1/commands", &command).await.expect(404);
    for service in ["", "a b", "s\u{e9}rvice", &"s".repeat(65)] {
        let refused = ann.post("/v1/quota/consume", &named(service, "scripted")).await.expect(400);
        assert_eq!((refused.code(), &refused.json["field"]), ("invalid_field", &json!("service")));
    }
    let shown = ann.get("/v1/quota").await.expect(200);
    assert_eq!(shown.json["exists"], false, "a refusal opens nothing");
    ann.post("/v1/quota/consume", &named("A.b_c-9", "scripted")).await.expect(200);
    // Admins tell of what they run.
    let made_up = named("our service", "made-up");
    tenant.olga.post("/v1/quota/consume", &made_up).await.expect(200);
}

#[tokio::test]
async fn requests_a_minute_count_use_by_services_too() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "requests_per_minute": 3 })).await;
    let session = ann.create_session().await;
    let turn = ann.say(&session, "one [[tokens=1]]").await.turn_id();
    for _ in 0..2 {
        ann.post("/v1/quota/consume", &use_of(1, 0)).await.expect(200);
    }
    let refused = ann.post("/v1/quota/consume", &use_of(1, 0)).await.expect(429);
    assert_eq!(refused.code(), "rate_limit_exceeded");
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    let path = format!("/v1/sessions/{session}/messages");
    let refused = ann.post(&path, &json!({ "content": "four" })).await.expect(429);
    assert_eq!(refused.code(), "rate_limit_exceeded");
    let refused = ann.post_empty(&format!("/v1/turns/{turn}/retry")).await.expect(429);
    assert_eq!(refused.code(), "rate_limit_exceeded");
}

#[tokio::test]
async fn a_repeat_under_the_same_key_charges_nothing_more() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_total": 100 })).await;
    let at_b = tenant.at_b(&ann);
    let charge = async |number: usize| {
        let client = if number.is_multiple_of(2) { &ann } else { &at_b };
        client.post_once("/v1/quota/consume", "job 7", &use_of(60, 0)).await
    };
    let answers = join_all((0..8).map(charge)).await;
    let entry = answers[0].json["entry_id"].clone();
    for answer in answers {
        // Refused for want of room it would be, if it counted again.
        let answer = answer.expect(200);
        assert_eq!(answer.json["entry_id"], entry);
        assert_eq!(answer.number("/account/balance/tokens"), 40);
    }
    let other = at_b.post_once("/v1/quota/consume", "job 7", &use_of(1, 0)).await;
    assert_eq!(other.expect(422).code(), "idempotency_key_reused");
    // A refusal isn't remembered: with more room the same request is good.
    let large = use_of(90, 0);
    at_b.post_once("/v1/quota/consume", "job 8", &large).await.expect(429);
    let path = "/v1/admin/accounts/ann/recharge";
    tenant.olga.post(path, &json!({ "tokens": 50, "reason": "r" })).await.expect(200);
    let charged = ann.post_once("/v1/quota/consume", "job 8", &large).await.expect(200);
    assert_eq!(charged.json["repeated"], false);
    let lines = assert_balanced(&ann, charged.number("/position")).await;
    let used = lines.iter().filter(|line| line["kind"] == "consumption").count();
    assert_eq!((lines.len(), used), (4, 2));
}
