//! What the catalog's routes refuse, and to whom.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{MODELS, PRICES, PROVIDERS, admin, model};
use crate::support::{new_tenant, shared};

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let (cluster, tenant) = (shared().await, new_tenant());
    let ann = cluster.client("a", &tenant, "ann");
    for path in [PROVIDERS, MODELS, PRICES] {
        assert_eq!(ann.get(path).await.expect(403).code(), "admin_only");
        assert_eq!(ann.with_token(None).get(path).await.expect(401).code(), "missing_token");
    }
    assert_eq!(ann.post(MODELS, &model("m")).await.expect(403).code(), "admin_only");
    let olga = admin(cluster, "a");
    let before = olga.get(MODELS).await.expect(200).json;
    for (method, path, change, status, code) in of_models().chain(of_providers()).chain(of_prices())
    {
        let body = if method == Method::POST { with(good(path), change) } else { change };
        let refused = olga.send(olga.request(method.clone(), path).json(&body)).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{method} {path} {body}");
        let named = refused.json["field"].as_str().is_some();
        assert!(status != 400 || code == "invalid_body" || named, "{}", refused.body);
        assert!(!refused.body.contains("hush"), "{}", refused.body);
    }
    assert_eq!(olga.get(MODELS).await.expect(200).json, before);
    // Nothing was made: a moment later no other node has seen anything of it either.
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(admin(cluster, "b").get(MODELS).await.expect(200).json, before);
}

/// A method, a path, what is wrong with the body, and the answer.
type Case = (Method, &'static str, Value, u16, &'static str);

/// A body that would be taken at `path`.
fn good(path: &str) -> Value {
    match path {
        MODELS => model("m"),
        PROVIDERS => json!({ "name": "p", "kind": "openai", "base_url": "http://h/v1" }),
        _ => json!({ "model": "other", "input_per_1k": "1", "output_per_1k": "1" }),
    }
}

fn with(mut body: Value, change: Value) -> Value {
    let (Value::Object(fields), Value::Object(change)) = (&mut body, change) else {
        panic!("bodies are objects")
    };
    fields.extend(change);
    body
}

fn of_models() -> impl Iterator<Item = Case> {
    const OTHER: &str = "/v1/admin/models/other";
    const GONE: &str = "/v1/admin/models/gone";
    let minus = json!({ "price": { "input_per_1k": 1, "output_per_1k": -1 } });
    let get = [(Method::GET, GONE, json!({}), 404, "model_not_found")];
    let post = [
        (json!({ "provider": "gone" }), 404, "provider_not_found"),
        (json!({ "name": "other" }), 409, "model_exists"),
        (json!({ "context": null }), 400, "invalid_body"),
        (json!({ "colour": "red" }), 400, "invalid_body"),
        (json!({ "status": "gone" }), 400, "invalid_body"),
        (json!({ "name": "" }), 400, "invalid_model"),
        (json!({ "max_output": 5000 }), 400, "invalid_model"),
        (json!({ "pool": "a b" }), 400, "invalid_model"),
        (minus.clone(), 400, "invalid_price"),
    ];
    let patch = [
        (GONE, json!({}), 404, "model_not_found"),
        (OTHER, json!({ "context": 0 }), 400, "invalid_model"),
        (OTHER, json!({ "context": null }), 400, "invalid_body"),
        (OTHER, json!({ "name": "x" }), 400, "invalid_body"),
        (OTHER, minus, 400, "invalid_price"),
    ];
    let post = post.map(|(change, status, code)| (Method::POST, MODELS, change, status, code));
    let patch =
        patch.map(|(path, change, status, code)| (Method::PATCH, path, change, status, code));
    get.into_iter().chain(post).chain(patch)
}

fn of_providers() -> impl Iterator<Item = Case> {
    const SCRIPTED: &str = "/v1/admin/providers/scripted";
    const GONE: &str = "/v1/admin/providers/gone";
    let get = [(Method::GET, GONE, json!({}), 404, "provider_not_found")];
    let post = [
        (json!({ "name": "scripted" }), 409, "provider_exists"),
        (json!({ "kind": "soap" }), 400, "invalid_body"),
        (json!({ "colour": "red" }), 400, "invalid_body"),
        (json!({ "base_url": "ftp://h" }), 400, "invalid_provider"),
        (json!({ "base_url": "http://u:hush@h" }), 400, "invalid_provider"),
        (json!({ "base_url": "http://169.254.169.254/v1" }), 400, "invalid_provider"),
        (json!({ "api_key_env": "DATABASE_URL" }), 400, "invalid_provider"),
        (json!({ "api_key_env": "OPENAI_API_KEY" }), 400, "invalid_provider"),
    ];
    let patch = [
        (GONE, json!({}), 404, "provider_not_found"),
        (SCRIPTED, json!({ "kind": "demo" }), 400, "invalid_body"),
        (SCRIPTED, json!({ "max_retries": 11 }), 400, "invalid_provider"),
        (SCRIPTED, json!({ "base_url": null }), 400, "invalid_provider"),
    ];
    let post = post.map(|(change, status, code)| (Method::POST, PROVIDERS, change, status, code));
    let patch =
        patch.map(|(path, change, status, code)| (Method::PATCH, path, change, status, code));
    get.into_iter().chain(post).chain(patch)
}

fn of_prices() -> impl Iterator<Item = Case> {
    const OF_GONE: &str = "/v1/admin/prices?model=gone";
    let get = [(Method::GET, OF_GONE, json!({}), 404, "model_not_found")];
    let post = [
        (json!({ "model": "gone" }), 404, "model_not_found"),
        (json!({ "input_per_1k": "0.0000000001" }), 400, "invalid_price"),
        (json!({ "input_per_1k": "much" }), 400, "invalid_body"),
        (json!({ "service": "a.b" }), 400, "invalid_price"),
        (json!({ "until": "2030-01-01" }), 400, "invalid_body"),
    ];
    let post = post.map(|(change, status, code)| (Method::POST, PRICES, change, status, code));
    get.into_iter().chain(post)
}
