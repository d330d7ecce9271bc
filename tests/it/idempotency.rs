//! Requests that come more than once under one key: one effect, one answer.

mod streams;
mod writes;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::Client;

use crate::support::user;

pub(crate) const KEY: &str = "idempotency-key";

#[tokio::test]
async fn keys_are_a_users_own() {
    let (ann, _) = user().await;
    let (bob, _) = user().await;
    let tenant = crate::support::new_tenant();
    let cluster = crate::support::shared().await;
    let one = cluster.client("a", &tenant, "one");
    let other = cluster.client("b", &tenant, "other");
    let body = json!({ "messages": [{ "role": "user", "content": "whose key is it" }] });
    let mut turns = Vec::new();
    for client in [&ann, &bob, &one, &other] {
        let answer = client.post_once("/v1/chat/completions", "mine", &body).await.expect(200);
        turns.push(answer.text("/turn_id"));
    }
    turns.sort();
    turns.dedup();
    assert_eq!(turns.len(), 4, "each has a turn of their own");
}

#[tokio::test]
async fn what_cannot_be_a_key_is_told_so() {
    let (ann, _) = user().await;
    let long = "k".repeat(256);
    let bad: [&[u8]; 4] = [b"", long.as_bytes(), b"a\tb", "ümlaut".as_bytes()];
    for key in bad {
        let request = |path: &str, body: &Value| {
            let value = reqwest::header::HeaderValue::from_bytes(key).unwrap();
            ann.request(Method::POST, path).json(body).header(KEY, value)
        };
        let native = ann.send(request("/v1/sessions", &json!({}))).await.expect(400);
        assert_eq!(native.code(), "invalid_idempotency_key");
        let body = json!({ "messages": [{ "role": "user", "content": "x" }] });
        let openai = ann.send(request("/v1/chat/completions", &body)).await.expect(400);
        assert_eq!(openai.code(), "invalid_idempotency_key");
    }
    for id in [json!(""), json!(long), json!(7), json!("a\nb")] {
        let body = json!({ "command": "CreateSession", "command_id": id });
        assert_eq!(ann.post("/v1/commands", &body).await.expect(400).code(), "invalid_body");
    }
    let twice = ann.request(Method::POST, "/v1/sessions").header(KEY, "one").header(KEY, "two");
    assert_eq!(ann.send(twice).await.expect(400).code(), "invalid_idempotency_key");
    assert!(ann.get("/v1/sessions").await.expect(200).data().is_empty());
    let longest = "k".repeat(255);
    ann.post_once("/v1/sessions", &longest, &json!({})).await.expect(201);
}

#[tokio::test]
async fn the_bodys_id_wins_over_the_header() {
    let (ann, _) = user().await;
    let body = json!({ "command": "CreateSession", "command_id": "the body's" });
    let first = ann.post_once("/v1/commands", "the header's", &body).await.expect(202);
    let again = ann.post_once("/v1/commands", "another one", &body).await.expect(202);
    assert_eq!(again.text("/session_id"), first.text("/session_id"));
    // The header's was not used up.
    let by_header = ann.post_once("/v1/sessions", "the header's", &json!({})).await.expect(201);
    assert_ne!(by_header.text("/id"), first.text("/session_id"));
}

/// A message to be sent under a key, its turn to be streamed.
pub(crate) fn message(client: &Client, session: &str, key: &str, text: &str) -> RequestBuilder {
    let path = format!("/v1/sessions/{session}/messages");
    let request = client.request(Method::POST, &path).json(&json!({ "content": text }));
    request.header(KEY, key).header("accept", "text/event-stream")
}

/// A chat completion to be streamed under a key.
pub(crate) fn completion(client: &Client, key: &str, text: &str) -> RequestBuilder {
    let body = json!({
        "messages": [{ "role": "user", "content": text }],
        "stream": true, "stream_options": { "include_usage": true },
    });
    client.request(Method::POST, "/v1/chat/completions").json(&body).header(KEY, key)
}
