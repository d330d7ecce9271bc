//! Turns that are stopped pay for what they got, and for no more.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Transcript, eventually};

use super::{assert_free, bill};
use crate::quota::support::{Tenant, account, assert_balanced, limit_of, position};
use crate::support::SOON;

/// Waits until the provider was asked, so that the turn runs.
async fn asked(tenant: &Tenant, text: &str) {
    eventually("the provider is asked", SOON, async || {
        !tenant.cluster.provider.calls(text).is_empty()
    })
    .await;
}

/// Sends `text`, reads `deltas`, cancels on the other node; tells the turn.
async fn cancel_after(tenant: &Tenant, client: &Client, text: &str, deltas: usize) -> String {
    let session = client.create_session().await;
    let mut stream = client.stream_message(&session, text).await;
    let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
    let mut transcript = Transcript::default();
    asked(tenant, text).await;
    assert!(transcript.read_deltas(&mut stream, deltas).await);
    let requested = stream.header("x-colloquy-position").unwrap().parse().unwrap();
    let held = account(client, requested).await;
    let held = limit_of(&held.json, "tokens_per_day")["reserved"].clone();
    assert!(held.as_u64().unwrap() >= 64, "{held} held while it runs");
    let path = format!("/v1/turns/{turn}/cancel");
    tenant.at_b(client).post_empty(&path).await.expect(202);
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.end().unwrap().name, "turn.cancelled");
    turn
}

#[tokio::test]
async fn before_the_first_word_it_costs_nothing() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let turn = cancel_after(&tenant, &ann, "cancelled in silence [[gate=0]]", 0).await;
    assert_free(&ann, &turn).await;
}

#[tokio::test]
async fn with_some_words_they_are_paid_for() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    // Without a count our estimate of the words that came.
    let text = "cancelled after some words [[tokens=200 pause=5 gate=20]]";
    let turn = cancel_after(&tenant, &ann, text, 1).await;
    let line = bill(&ann, &turn).await;
    assert_eq!(line["usage"]["estimated"], true);
    let tokens = line["usage"]["completion_tokens"].as_i64().unwrap();
    assert!((1..=40).contains(&tokens), "{line}");
    // With a count on the way, that.
    let text = "cancelled and counted [[tokens=200 pause=5 gate=20 counting]]";
    let turn = cancel_after(&tenant, &ann, text, 1).await;
    let line = bill(&ann, &turn).await;
    assert_eq!(line["usage"]["estimated"], false);
    let counted = tenant.cluster.provider.calls(text)[0].usage.unwrap();
    assert!(line["usage"]["completion_tokens"].as_u64().unwrap() <= counted.completion);
    assert_eq!(line["usage"]["prompt_tokens"], counted.prompt);
    assert_eq!(assert_balanced(&ann, line["position"].as_i64().unwrap()).await.len(), 2);
}

#[tokio::test]
async fn a_message_that_interrupts_settles_the_turn_before_it() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let session = ann.create_session().await;
    let text = "interrupted [[tokens=200 pause=5 gate=10]]";
    let mut stream = ann.stream_message(&session, text).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let path = format!("/v1/sessions/{session}/messages");
    let body = json!({ "content": "instead [[tokens=6]]", "on_busy": "interrupt" });
    let next = tenant.at_b(&ann).post(&path, &body).await.expect(202).text("/turn_id");
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.end().unwrap().name, "turn.cancelled");
    assert_eq!(bill(&ann, &transcript.turn_id()).await["usage"]["estimated"], true);
    assert_eq!(bill(&ann, &next).await["usage"]["completion_tokens"], 6);
    let ended = ann.ended(&next).await.number("/position");
    assert_eq!(assert_balanced(&ann, ended).await.len(), 2);
}

#[tokio::test]
async fn a_client_that_hangs_up_pays_for_what_came() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let text = "hung up on [[tokens=200 pause=5 gate=10 counting]]";
    let body = json!({
        "model": "scripted", "messages": [{ "role": "user", "content": text }], "stream": true,
    });
    let request = ann.request(Method::POST, "/v1/chat/completions").json(&body);
    let mut response = ann.begin(request).await.unwrap();
    let turn = response.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned();
    while !String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()).contains('#') {}
    drop(response);
    let ended = ann.ended(&turn).await;
    assert_eq!(ended.text("/status"), "cancelled");
    assert_eq!(bill(&ann, &turn).await["usage"]["estimated"], false);
    assert_balanced(&ann, ended.number("/position")).await;
}

#[tokio::test]
async fn a_deleted_session_is_no_way_around_the_bill() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    for (text, words) in [
        ("deleted in silence [[gate=0]]", 0),
        ("deleted meanwhile [[tokens=200 pause=5 gate=10 counting]]", 1),
    ] {
        let session = ann.create_session().await;
        let mut stream = ann.stream_message(&session, text).await;
        let mut transcript = Transcript::default();
        asked(&tenant, text).await;
        assert!(transcript.read_deltas(&mut stream, words).await);
        tenant.at_b(&ann).delete(&format!("/v1/sessions/{session}")).await.expect(204);
        transcript.read_on(&mut stream).await;
        assert_eq!(transcript.end().unwrap().name, "turn.cancelled");
        // The turn has ended; its worker tells what it used.
        eventually("nothing is held", SOON, async || {
            let held = ann.get("/v1/quota").await.expect(200);
            limit_of(&held.json, "tokens_per_day")["reserved"] == 0
        })
        .await;
        let lines = assert_balanced(&ann, position(&transcript)).await;
        let turn = Value::String(transcript.turn_id());
        let bills: Vec<_> = lines.iter().filter(|line| line["turn_id"] == turn).collect();
        assert_eq!(bills.len(), words);
        if let [bill] = bills[..] {
            let counted = tenant.cluster.provider.calls(text)[0].usage.unwrap();
            assert!(bill["usage"]["completion_tokens"].as_u64().unwrap() <= counted.completion);
            assert_eq!(
                (&bill["usage"]["estimated"], &bill["model"]),
                (&json!(false), &json!("scripted"))
            );
        }
    }
}
