//! A request that comes again under its key is answered as it was, though there is no room for
//! another: it holds and costs nothing more.

use futures::future::join_all;
use serde_json::json;
use tests::{Client, Transcript};

use super::bill;
use crate::quota::support::{Tenant, assert_balanced, audit, called};

async fn send(client: &Client, path: &str, text: &str) -> tests::Answer {
    client.post_once(path, "again", &json!({ "content": text })).await
}

#[tokio::test]
async fn a_message_that_comes_again_is_the_same_turn() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "requests_per_minute": 1 })).await;
    let at_b = tenant.at_b(&ann);
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let text = "comes ten times [[tokens=7]]";
    let clients = [&ann, &at_b].into_iter().cycle().take(10);
    let answers = join_all(clients.map(|client| send(client, &path, text))).await;
    let turn = answers[0].text("/turn_id");
    for answer in answers {
        assert_eq!(answer.expect(202).text("/turn_id"), turn);
    }
    let seen = Transcript::of(ann.watch(&turn, None).await).await;
    assert_eq!(seen.text(), seen.message_text());
    // The account is full by now, and the turn has ended.
    assert_eq!(send(&at_b, &path, text).await.expect(202).text("/turn_id"), turn);
    let other = at_b.post_once(&path, "another", &json!({ "content": "x" })).await.expect(429);
    assert_eq!(other.code(), "rate_limit_exceeded");
    let line = bill(&ann, &turn).await;
    assert_eq!(assert_balanced(&ann, line["position"].as_i64().unwrap()).await.len(), 1);
    assert_eq!(called(&audit(&tenant.olga, "ann").await, "QuotaReserved").len(), 1);
    assert_eq!(tenant.cluster.provider.calls(text).len(), 1);
}

#[tokio::test]
async fn a_completion_that_comes_again_is_the_same_answer() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "requests_per_minute": 1 })).await;
    let at_b = tenant.at_b(&ann);
    let text = "completed twice [[tokens=7 pause=5]]";
    let body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": text }] });
    let complete = async |client: &Client, key: &str| {
        client.post_once("/v1/chat/completions", key, &body).await
    };
    let (one, other) = tokio::join!(complete(&ann, "again"), complete(&at_b, "again"));
    let (one, other) = (one.expect(200), other.expect(200));
    assert_eq!(one.text("/choices/0/message/content"), other.text("/choices/0/message/content"));
    let late = complete(&at_b, "again").await.expect(200);
    assert_eq!(late.text("/turn_id"), one.text("/turn_id"));
    complete(&ann, "another").await.expect(429);
    bill(&ann, &one.text("/turn_id")).await;
    assert_eq!(tenant.cluster.provider.calls(text).len(), 1);
}
