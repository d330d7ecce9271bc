//! Clients that leave before the end: whose turns go on, and whose are cancelled.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tests::provider::Ended;
use tests::{Client, Cluster, EventStream, Transcript, eventually};

use crate::support::{BINARY, SOON, shared, user};

const HEADER: &str = "x-colloquy-on-disconnect";
const CHAT: &str = "/v1/chat/completions";

fn chat(client: &Client, text: &str, more: &Value) -> RequestBuilder {
    let mut body = json!({ "messages": [{ "role": "user", "content": text }], "stream": true });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    client.request(Method::POST, CHAT).json(&body)
}

fn turn_of(response: &Response) -> String {
    assert_eq!(response.status(), 200);
    response.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned()
}

/// Sends `request`, reads the first piece and leaves; tells the turn.
async fn leave(request: RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    let turn = turn_of(&response);
    response.bytes_stream().next().await.unwrap().unwrap();
    turn
}

/// How a turn ended.
async fn end(client: &Client, turn: &str) -> String {
    client.ended(turn).await.text("/status")
}

#[tokio::test]
async fn a_call_says_itself_what_becomes_of_it() {
    let (ann, at_b) = user().await;
    let goes_on = |name: &str| format!("leaves and is not missed, {name} [[tokens=15 pause=20]]");
    let none = json!({});
    let by_header = chat(&ann, &goes_on("by a header"), &none).header(HEADER, "continue");
    let by_field = chat(&ann, &goes_on("by a field"), &json!({ "on_disconnect": "continue" }));
    let by_both = chat(&ann, &goes_on("by both"), &json!({ "on_disconnect": "continue" }))
        .header(HEADER, "cancel");
    for request in [by_header, by_field, by_both] {
        assert_eq!(end(&at_b, &leave(request).await).await, "completed");
    }

    let session = ann.create_session().await;
    let missed = "leaves and is missed [[tokens=400 pause=25]]";
    let with_key =
        chat(&ann, missed, &none).header(HEADER, "cancel").header("idempotency-key", "missed");
    let with_session = json!({ "session_id": session, "on_disconnect": "cancel" });
    for request in [with_key, chat(&ann, missed, &with_session)] {
        assert_eq!(end(&at_b, &leave(request).await).await, "cancelled");
    }
    eventually("nobody is asked any more", SOON, async || {
        let calls = shared().await.provider.calls("leaves and is missed");
        calls.len() == 2 && calls.iter().all(|call| call.ended == Ended::Abandoned)
    })
    .await;
    let provider = shared().await.provider.calls("by a field");
    assert!(provider[0].body.get("on_disconnect").is_none(), "it is ours");
}

#[tokio::test]
async fn a_message_may_be_tied_to_its_connection() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let send = |text: &str| {
        let request = ann.request(Method::POST, &path).json(&json!({ "content": text }));
        request.header("accept", "text/event-stream")
    };
    let turn = leave(send("tied [[tokens=400 pause=25]]").header(HEADER, "cancel")).await;
    assert_eq!(end(&at_b, &turn).await, "cancelled");
    let turn = leave(send("free [[tokens=15 pause=20]]").header(HEADER, "continue")).await;
    assert_eq!(end(&at_b, &turn).await, "completed");
    // Who sees the end has not left.
    let stream = ann.open(send("seen to its end").header(HEADER, "cancel")).await;
    Transcript::of(stream).await.completed();

    // At many moments: before it is written, while it is, after.
    for delay in 0..24 {
        let request = send("left at once [[tokens=400 pause=25]]").header(HEADER, "cancel").send();
        drop(tokio::time::timeout(Duration::from_micros(400 * delay), request).await);
        eventually("the session is free again", SOON, async || {
            ann.get(&format!("/v1/sessions/{session}")).await.json["running_turn_id"].is_null()
        })
        .await;
    }
    let calls = shared().await.provider.calls("left at once");
    assert!(calls.iter().all(|call| call.ended != Ended::Whole), "{calls:?}");
}

#[tokio::test]
async fn a_call_that_waits_for_the_whole_answer_is_missed_too() {
    let (ann, _) = user().await;
    let text = "does not wait [[tokens=400 pause=25]]";
    let call = chat(&ann, text, &json!({ "stream": false })).send();
    let provider = &shared().await.provider;
    let asked = eventually("the provider is asked", SOON, async || {
        provider.calls(text).iter().any(|call| call.tokens > 2)
    });
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = asked => {}
    }
    eventually("the provider is hung up on", SOON, async || {
        provider.calls(text)[0].ended == Ended::Abandoned
    })
    .await;
    assert_eq!(provider.calls(text).len(), 1);
}

#[tokio::test]
async fn what_is_no_wish_is_told_so() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let message = ann.request(Method::POST, &path).json(&json!({ "content": "x" }));
    let none = json!({});
    for request in [chat(&ann, "x", &none), message] {
        let answer = ann.send(request.header(HEADER, "perhaps")).await.expect(400);
        assert_eq!(answer.code(), "invalid_on_disconnect");
    }
    let answer = ann.send(chat(&ann, "x", &json!({ "on_disconnect": "perhaps" }))).await;
    assert_eq!(answer.expect(400).code(), "invalid_body");
    assert!(ann.history(&session, 0).await.is_empty());
}

#[tokio::test]
async fn a_deployment_says_what_is_usual() {
    let cluster = Cluster::builder(BINARY)
        .node("all", "api,worker,projector,relay")
        .config("[openai]\non_disconnect = \"continue\"\n")
        .start()
        .await;
    let ann = cluster.client("all", "acme", "ann");
    let none = json!({});
    let turn = leave(chat(&ann, "goes on [[tokens=15 pause=20]]", &none)).await;
    assert_eq!(end(&ann, &turn).await, "completed");
    let tied = chat(&ann, "does not [[tokens=400 pause=25]]", &none).header(HEADER, "cancel");
    assert_eq!(end(&ann, &leave(tied).await).await, "cancelled");
}

#[tokio::test]
async fn a_cancellation_that_cannot_be_written_now_is_written_later() {
    let cluster = Cluster::builder(BINARY)
        .node_behind_proxy("a", "api")
        .node("b", "api,worker,projector,relay")
        .patient()
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let text = "leaves in the dark [[tokens=40 gate=3]]";
    let response = chat(&ann, text, &json!({})).send().await.unwrap();
    let turn = turn_of(&response);
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    cluster.database_proxy("a").cut();
    drop(bytes);
    let log = cluster.folder().join("a.log");
    eventually("it can't be written", Duration::from_secs(60), async || {
        std::fs::read_to_string(&log).unwrap().contains("the database is unavailable")
    })
    .await;
    let at_b = ann.at(cluster.base("b"));
    assert_eq!(at_b.get(&format!("/v1/turns/{turn}")).await.text("/status"), "running");
    cluster.database_proxy("a").pass();
    assert_eq!(end(&at_b, &turn).await, "cancelled");
    eventually("the provider is hung up on", SOON, async || {
        cluster.provider.calls(text)[0].ended == Ended::Abandoned
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_is_no_client_that_leaves() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api")
        .node("b", "api,worker,projector,relay")
        .patient()
        .config("[shutdown]\ngrace_seconds = 1\n")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let gated = |name: &str| format!("stopped under {name} [[tokens=9 gate=3]]");
    let none = json!({});
    let streamed = chat(&ann, &gated("a stream"), &none).send().await.unwrap();
    let turn = turn_of(&streamed);
    let whole = tokio::spawn(chat(&ann, &gated("a wait"), &json!({ "stream": false })).send());
    let session = ann.create_session().await;
    let tied = ann
        .request(Method::POST, &format!("/v1/sessions/{session}/messages"))
        .json(&json!({ "content": gated("a viewer") }))
        .header(HEADER, "cancel");
    let mut tied = ann.open(tied).await;
    let tied_turn = tied.header("x-colloquy-turn-id").unwrap().to_owned();
    eventually("all are at it", SOON, async || cluster.provider.calls("stopped under").len() == 3)
        .await;
    cluster.node("a").terminate();
    let text = streamed.text().await.unwrap();
    assert!(text.contains("\"code\":\"stopping\"") && text.contains(&turn), "{text}");
    let whole = whole.await.unwrap().unwrap();
    assert_eq!(whole.status(), 503);
    let body: Value = serde_json::from_str(&whole.text().await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "stopping");
    assert_eq!(last(&mut tied).await, "stream.closing");
    cluster.node("a").ended(SOON).await;
    cluster.provider.open("stopped under");
    let named = body["error"]["message"].as_str().unwrap();
    let waited = named.split("/v1/turns/").nth(1).unwrap().split(' ').next().unwrap();
    for turn in [turn.as_str(), waited, tied_turn.as_str()] {
        assert_eq!(end(&at_b, turn).await, "completed");
    }
}

/// The name of a stream's last event.
async fn last(stream: &mut EventStream) -> String {
    let mut name = String::new();
    while let Some(event) = stream.next_real().await.unwrap() {
        name = event.name;
    }
    name
}
