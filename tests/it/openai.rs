//! The OpenAI-compatible routes, byte by byte where SDKs are touchy.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, eventually};

use crate::support::{SOON, shared, user};

fn request(text: &str, more: &Value) -> Value {
    let mut body = json!({
        "model": "scripted",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": "hello" },
            { "role": "user", "content": text },
        ],
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The lines of a streamed answer, and the chunks in them.
async fn stream(client: &Client, body: &Value) -> (Vec<String>, Vec<Value>) {
    let sent = client.request(Method::POST, "/v1/chat/completions").json(body).send();
    let response = sent.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let text = response.text().await.unwrap();
    let lines: Vec<String> =
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let data = lines.iter().filter_map(|line| line.strip_prefix("data: "));
    let chunks = data.filter(|data| *data != "[DONE]");
    let chunks = chunks.map(|data| serde_json::from_str(data).unwrap()).collect();
    (lines, chunks)
}

fn content(chunks: &[Value]) -> String {
    let text = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    chunks.iter().filter_map(text).collect()
}

#[tokio::test]
async fn a_streamed_completion_has_the_shape_that_sdks_expect() {
    let (ann, _) = user().await;
    let body = request("openai streamed [[tokens=12 pause=15]]", &json!({ "stream": true }));
    let (lines, chunks) = stream(&ann, &body).await;
    for line in &lines {
        assert!(line.starts_with("data: ") || line.starts_with(':'), "{line:?} confuses SDKs");
    }
    assert_eq!(lines.last().unwrap(), "data: [DONE]");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert_eq!(chunk["created"], chunks[0]["created"]);
        assert_eq!(chunk["model"], "scripted");
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1, "asked for no usage");
        assert!(chunk.get("usage").is_none());
    }
    let calls = shared().await.provider.calls("openai streamed");
    assert_eq!(content(&chunks), calls[0].text);
    let roles: Vec<String> = calls[0].prompt().into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_when_asked_for() {
    let (ann, _) = user().await;
    let more = json!({ "stream": true, "stream_options": { "include_usage": true }, "seed": 7 });
    let (_, chunks) = stream(&ann, &request("openai usage", &more)).await;
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    let call = &shared().await.provider.calls("openai usage")[0];
    let usage = call.usage.unwrap();
    assert_eq!(last["usage"]["prompt_tokens"], usage.prompt);
    assert_eq!(last["usage"]["completion_tokens"], usage.completion);
    assert_eq!(last["usage"]["total_tokens"], usage.prompt + usage.completion);
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    assert_eq!(call.body["seed"], 7, "what isn't ours goes to the provider");
}

#[tokio::test]
async fn a_whole_completion_says_the_same() {
    let (ann, _) = user().await;
    let body = request("openai whole [[tokens=9]]", &json!({ "max_tokens": 50 }));
    let answer = ann.post("/v1/chat/completions", &body).await.expect(200);
    let call = &shared().await.provider.calls("openai whole")[0];
    assert_eq!(answer.text("/object"), "chat.completion");
    assert_eq!(answer.text("/choices/0/message/role"), "assistant");
    assert_eq!(answer.text("/choices/0/message/content"), call.text);
    assert_eq!(answer.text("/choices/0/finish_reason"), "stop");
    let usage = call.usage.unwrap();
    assert_eq!(answer.json["usage"]["total_tokens"], usage.prompt + usage.completion);
    assert_eq!(call.body["max_tokens"], 50);
    // Stateless to the client: in no list.
    assert!(ann.get("/v1/sessions").await.expect(200).data().is_empty());
}

#[tokio::test]
async fn a_completion_can_go_on_with_a_session() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let first = ann.say(&session, "openai in session one").await;
    let body = json!({
        "model": "scripted", "session_id": session,
        "messages": [{ "role": "user", "content": "openai in session two" }],
    });
    let answer = ann.post("/v1/chat/completions", &body).await.expect(200);
    let prompt = shared().await.provider.calls("openai in session two")[0].prompt();
    assert_eq!(prompt.len(), 3);
    assert_eq!(prompt[1].1, first.text());
    let position = ann.ended(&answer.text("/turn_id")).await.number("/position");
    assert_eq!(ann.history(&session, position).await.len(), 4);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_stateless_turn() {
    let (ann, _) = user().await;
    let body = request("openai hangs up [[tokens=200 pause=50]]", &json!({ "stream": true }));
    let sent = ann.request(Method::POST, "/v1/chat/completions").json(&body).send();
    let response = sent.await.unwrap();
    let turn = response.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned();
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    drop(bytes);
    assert_eq!(ann.ended(&turn).await.text("/status"), "cancelled");
    let provider = &shared().await.provider;
    eventually("the provider is hung up on", SOON, async || {
        provider.calls("openai hangs up")[0].ended == tests::provider::Ended::Abandoned
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_began_leaves_nothing_running() {
    let (ann, _) = user().await;
    let body = request("openai leaves early [[tokens=200 pause=50]]", &json!({ "stream": true }));
    // At many moments: before the request is read, while it is written, before its first word.
    for delay in 0..24 {
        let sent = ann.request(Method::POST, "/v1/chat/completions").json(&body).send();
        let _ = tokio::time::timeout(Duration::from_micros(500 * delay), sent).await;
    }
    let provider = &shared().await.provider;
    eventually("no answer goes on for nobody", SOON, async || {
        let calls = provider.calls("openai leaves early");
        calls.iter().all(|call| call.ended != tests::provider::Ended::Not)
    })
    .await;
    let calls = provider.calls("openai leaves early");
    assert!(calls.iter().all(|call| call.ended == tests::provider::Ended::Abandoned));
}

#[tokio::test]
async fn a_call_with_an_idempotency_key_goes_on_for_its_repeat() {
    let (ann, _) = user().await;
    let body = request("openai comes back [[tokens=20 pause=20]]", &json!({}));
    let call = || {
        let request = ann.request(Method::POST, "/v1/chat/completions").json(&body);
        request.header("idempotency-key", "openai comes back")
    };
    let _ = tokio::time::timeout(Duration::from_millis(150), call().send()).await;
    let answer = ann.send(call()).await.expect(200);
    assert_eq!(answer.number("/usage/completion_tokens"), 20);
    assert_eq!(shared().await.provider.calls("openai comes back").len(), 1);
}

#[tokio::test]
async fn errors_have_openais_shape() {
    let (ann, _) = user().await;
    let unknown = request("x", &json!({ "model": "no-such-model" }));
    let answer = ann.post("/v1/chat/completions", &unknown).await.expect(404);
    assert_eq!(answer.text("/error/code"), "model_not_found");
    assert_eq!(answer.text("/error/param"), "model");
    for more in [json!({ "n": 2 }), json!({ "logprobs": true }), json!({ "functions": [] })] {
        let answer = ann.post("/v1/chat/completions", &request("x", &more)).await.expect(400);
        assert_eq!(answer.text("/error/type"), "invalid_request_error");
        assert_eq!(answer.code(), "unsupported_parameter");
    }
    let nobody = ann.with_token(None).post("/v1/chat/completions", &unknown).await.expect(401);
    assert_eq!(nobody.text("/error/type"), "authentication_error");
}

#[tokio::test]
async fn a_failing_provider_is_told_by_status_before_and_by_a_chunk_after_the_first_word() {
    let (ann, _) = user().await;
    let body = request("openai failing [[status=429]]", &json!({}));
    let answer = ann.post("/v1/chat/completions", &body).await.expect(429);
    assert_eq!(answer.text("/error/type"), "rate_limit_error");
    let body = request("openai cut off [[tokens=9 pause=30 cut=4]]", &json!({ "stream": true }));
    let (lines, chunks) = stream(&ann, &body).await;
    let (last, others) = chunks.split_last().unwrap();
    assert!(last["error"]["message"].is_string(), "{last}");
    assert!(others.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert_ne!(lines.last().unwrap(), "data: [DONE]", "a cut answer has no good end");
}

#[tokio::test]
async fn models_are_listed() {
    let (ann, _) = user().await;
    let models = ann.get("/v1/models").await.expect(200);
    assert_eq!(models.text("/object"), "list");
    let names: Vec<&str> =
        models.data().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["scripted", "other", "bench-32"]);
    assert_eq!(ann.get("/v1/models/other").await.expect(200).text("/id"), "other");
    assert_eq!(ann.get("/v1/models/none").await.expect(404).code(), "model_not_found");
    ann.with_token(None).get("/v1/models").await.expect(401);
}
