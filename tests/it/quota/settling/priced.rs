//! The price of a turn is that of the moment when it was accepted, whatever it is when it ends,
//! and however it is looked at afterwards.

use serde_json::json;
use tests::{Transcript, eventually};

use crate::quota::support::{Tenant, assert_balanced, ledger, position};
use crate::support::SOON;

/// A model of the test's own, so that its price is nobody else's.
async fn model(tenant: &Tenant) -> String {
    let name = format!("{}-model", tenant.name);
    let body = json!({
        "name": name, "provider": "scripted", "context": 4096, "max_output": 512,
        "price": { "input_per_1k": "0", "output_per_1k": "1" },
    });
    tenant.olga.post("/v1/admin/models", &body).await.expect(201);
    for node in ["a", "b"] {
        let client = tenant.cluster.client(node, &tenant.name, "ann");
        let path = format!("/v1/models/{name}");
        eventually("the model has come", SOON, async || client.get(&path).await.status == 200)
            .await;
    }
    name
}

#[tokio::test]
async fn a_turn_keeps_the_price_it_was_accepted_with() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let model = model(&tenant).await;
    let settings = json!({ "settings": { "model": model } });
    let session = ann.post("/v1/sessions", &settings).await.expect(201).text("/id");
    let mut stream = ann.stream_message(&session, "dearer meanwhile [[tokens=10 gate=2]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let dearer = json!({ "model": model, "input_per_1k": "0", "output_per_1k": "50" });
    tenant.olga.post("/v1/admin/prices", &dearer).await.expect(201);
    tenant.cluster.provider.open("dearer meanwhile");
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.completed()["credits"], "0.01");
    // The node that set it goes by it at once.
    let next = ann.say(&session, "dearer now [[tokens=10]]").await;
    assert_eq!(next.completed()["credits"], "0.5");
    // Nothing is wrong with either.
    let reprice = ["quota", "reprice", "--from", "2020-01-01", "--tenant", &tenant.name];
    let told = tenant.cluster.cli(&reprice).await;
    assert!(told.contains("0 corrections"), "{told}");
    let lines = ledger(&ann, position(&next)).await;
    assert_eq!(lines.len(), 2);

    // A model without a price is free, and a correction that makes it so gives it all back.
    let free = json!({
        "model": model, "input_per_1k": "0", "output_per_1k": "0", "from": "2020-01-01T00:00:00Z",
    });
    tenant.olga.post("/v1/admin/prices", &free).await.expect(201);
    let told = tenant.cluster.cli(&reprice).await;
    assert!(told.contains("2 corrections"), "it takes the place of all since then: {told}");
}

#[tokio::test]
async fn use_that_no_ledger_can_hold_is_refused() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let model = model(&tenant).await;
    let dear = json!({ "model": model, "input_per_1k": "1000000", "output_per_1k": "1000000" });
    tenant.olga.post("/v1/admin/prices", &dear).await.expect(201);
    let most = json!({ "prompt_tokens": u32::MAX, "completion_tokens": u32::MAX });
    let body = json!({ "service": "search", "model": model, "usage": most });
    let charged = ann.post("/v1/quota/consume", &body).await.expect(200);
    for _ in 0..2 {
        let refused = ann.post("/v1/quota/consume", &body).await.expect(400);
        assert_eq!(refused.text("/field"), "usage");
    }
    let lines = assert_balanced(&ann, charged.number("/position")).await;
    let sum: i64 = lines.iter().map(|line| line["tokens"].as_i64().unwrap()).sum();
    let statistics = ann.get("/v1/quota/statistics").await.expect(200);
    assert_eq!(statistics.number("/totals/total_tokens"), -sum);
    assert_eq!(statistics.json["totals"]["most_tokens"], json!(2 * u64::from(u32::MAX)));
    assert_eq!(lines[0]["credits"], "-8589934590000");
}
