//! Attempts that take each other's place, as clients see it: one clean text, or the place from
//! which it is taken back, or an error that names the turn.

use reqwest::Method;
use serde_json::{Value, json};
use tests::provider::Provider;
use tests::{Client, Cluster, EventStream, SseEvent, Transcript, eventually, found, invariants};

use crate::support::{BINARY, SOON};

const CHAT: &str = "/v1/chat/completions";

/// A model whose provider goes on from a beginning.
fn going_on(provider: &Provider) -> String {
    let url = provider.base_url();
    format!(
        r#"
[[providers]]
name = "going-on"
kind = "openai"
base_url = "{url}"
continuation = "last_message"
models = [{{ name = "going-on", context = 8192, max_output = 4096 }}]
"#
    )
}

async fn cluster(config: &str) -> Cluster {
    Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api")
        .node("worker", "worker")
        .patient()
        .config(config)
        .start()
        .await
}

/// Ends the worker without warning, and starts it again.
fn lose_the_worker(cluster: &mut Cluster) {
    cluster.node("worker").kill();
    cluster.node("worker").start();
}

/// A chat completion that is streamed under a key.
async fn stream(client: &Client, key: &str, text: &str) -> reqwest::Response {
    let body = json!({ "messages": [{ "role": "user", "content": text }], "stream": true });
    let request = client.request(Method::POST, CHAT).header("idempotency-key", key);
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// Reads `response` until `count` pieces of text were there.
async fn pieces(response: &mut reqwest::Response, count: usize) -> String {
    let mut text = String::new();
    while text.matches("\"content\":").count() <= count {
        let chunk = response.chunk().await.unwrap().expect("more of the answer");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

/// The chunks in a stream's text, but for signs of life and the end mark.
fn chunks(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn content(chunks: &[Value]) -> String {
    let text = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    chunks.iter().filter_map(text).collect()
}

fn turn_of(response: &reqwest::Response) -> String {
    response.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_that_comes_again_the_same_is_one_clean_stream() {
    let mut cluster = cluster("").await;
    let ann = cluster.client("a", "acme", "ann");
    let words: Vec<String> = (0..30).map(|number| format!("wörd-{number}")).collect();
    let text = format!("[[echo pause=50]] {}", words.join(" "));
    let mut response = stream(&ann, "same", &text).await;
    let turn = turn_of(&response);
    let mut seen = pieces(&mut response, 5).await;
    lose_the_worker(&mut cluster);
    seen.push_str(&response.text().await.unwrap());
    assert!(seen.ends_with("data: [DONE]\n\n"), "{seen}");
    let chunks = chunks(&seen);
    assert_eq!(content(&chunks), cluster.provider.calls("wörd-7")[1].text);
    let with = |pointer: &str| {
        let texts = chunks.iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str());
        texts.count()
    };
    assert_eq!((with("/choices/0/delta/role"), with("/choices/0/finish_reason")), (1, 1));
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    let shown = ann.ended(&turn).await;
    assert_eq!(tests::transcript::content_text(&shown.json["content"]), content(&chunks));
    assert!(shown.number("/attempt") > 1);
}

#[tokio::test]
async fn another_answer_ends_the_stream_and_names_the_turn_that_has_it() {
    let mut cluster = cluster("").await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let text = "says something else [[tokens=12 pause=40 gate=6]]";
    let mut response = stream(&ann, "else", text).await;
    let turn = turn_of(&response);
    let mut seen = pieces(&mut response, 3).await;
    lose_the_worker(&mut cluster);
    seen.push_str(&response.text().await.unwrap());
    let seen = chunks(&seen);
    let (last, others) = seen.split_last().unwrap();
    assert_eq!(last["error"]["code"], "attempt_superseded");
    assert!(last["error"]["message"].as_str().unwrap().contains(&turn), "{last}");
    let calls = cluster.provider.calls("says something else");
    assert!(calls[0].text.starts_with(&content(others)));
    assert!(others.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));

    // Who asks again hears the new answer alone, while it runs and after it.
    let again = stream(&at_b, "else", text).await;
    assert_eq!(turn_of(&again), turn);
    cluster.provider.open("says something else");
    let again = again.text().await.unwrap();
    ann.ended(&turn).await;
    let later = stream(&at_b, "else", text).await.text().await.unwrap();
    assert_eq!(again, later);
    assert!(later.ends_with("data: [DONE]\n\n"), "{later}");
    assert_eq!(content(&chunks(&later)), cluster.provider.calls("says something else")[1].text);
}

#[tokio::test]
async fn an_answer_that_goes_on_is_not_taken_back() {
    let provider = Provider::start();
    let mut cluster = cluster(&going_on(&provider)).await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let settings = json!({ "settings": { "model": "going-on" } });
    let session = ann.post("/v1/sessions", &settings).await.expect(201).text("/id");
    let follow = ann.request(Method::GET, &format!("/v1/sessions/{session}/events"));
    let mut followed = ann.open(follow).await;
    let mut stream = ann.stream_message(&session, "goes on [[tokens=9 pause=20 gate=6]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 3).await);
    let turn = transcript.turn_id();
    eventually("all before the gate was said", SOON, async || {
        provider.calls("goes on").iter().any(|call| call.tokens == 6)
    })
    .await;
    // Who came in the middle can't be sure of the beginning, and who comes later has all to hear.
    let mut in_the_middle = at_b.watch(&turn, Some("1-1")).await;
    let mut middle = vec![in_the_middle.next_real().await.unwrap().unwrap()];
    while transcript.text() != provider.calls("goes on")[0].text {
        let deltas = transcript.deltas() + 1;
        assert!(transcript.read_deltas(&mut stream, deltas).await);
    }
    let begun = transcript.text().to_owned();
    lose_the_worker(&mut cluster);
    transcript.read_on(&mut stream).await;
    transcript.assert_ended();
    assert!(transcript.text().starts_with(&begun) && transcript.text().len() > begun.len());
    assert_eq!(transcript.text(), transcript.message_text());
    let restart = restart_in(&transcript.events);
    assert_eq!(restart.id.as_deref(), Some("2-1"));
    assert_eq!(restart.json()["offset"], begun.len());
    assert_eq!(restart.json()["attempt"], 2);

    middle.extend(rest(&mut in_the_middle).await);
    let restart = restart_in(&middle);
    assert_eq!((restart.id.as_deref(), &restart.json()["offset"]), (Some("2-0"), &json!(0)));
    let first = middle.iter().find(|event| event.id.as_deref() == Some("2-1")).unwrap();
    assert_eq!(first.json()["text"], begun.as_str());

    let followed = session_events(&mut followed).await;
    let restart = restart_in(&followed);
    assert_eq!(restart.id, Some(format!("{turn}:2-1")));
    assert_eq!(restart.json()["offset"], begun.len());

    ann.ended(&turn).await;
    leads_to_the_same_end(&at_b, &turn, &transcript).await;
    invariants::check(&cluster.pool().await).await;
}

/// Each place from the restart on is gone on from, and each before it leads to the restart.
async fn leads_to_the_same_end(client: &Client, turn: &str, transcript: &Transcript) {
    let ids: Vec<&str> = transcript.ids().into_iter().filter(|id| id.starts_with("2-")).collect();
    for id in &ids[..ids.len() - 1] {
        let resumed = rest(&mut client.watch(turn, Some(id)).await).await;
        let seen = transcript.events.iter().position(|event| event.id.as_deref() == Some(id));
        assert_eq!(resumed, transcript.events[seen.unwrap() + 1..], "after {id}");
    }
    for id in ["1-0", "1-2", "1-1000"] {
        let resumed = rest(&mut client.watch(turn, Some(id)).await).await;
        let restart = &resumed[0];
        assert_eq!((restart.id.as_deref(), &restart.json()["offset"]), (Some("2-0"), &json!(0)));
    }
    let whole = Transcript::of(client.watch(turn, None).await).await;
    assert_eq!(whole.text(), transcript.text());
}

#[tokio::test]
async fn a_chat_completion_that_goes_on_is_one_clean_stream() {
    let provider = Provider::start();
    let mut cluster = cluster(&going_on(&provider)).await;
    let ann = cluster.client("a", "acme", "ann");
    let content_of = "chats on [[tokens=9 pause=20 gate=6]]";
    let body = json!({ "model": "going-on", "stream": true,
        "messages": [{ "role": "user", "content": content_of }] });
    let mut response = ann.request(Method::POST, CHAT).json(&body).send().await.unwrap();
    let turn = turn_of(&response);
    let mut seen = pieces(&mut response, 2).await;
    eventually("all before the gate was said", SOON, async || {
        provider.calls("chats on").iter().any(|call| call.tokens == 6)
    })
    .await;
    let said = provider.calls("chats on")[0].text.clone();
    found("all of it arrives", SOON, async || {
        if content(&chunks(&seen)) != said {
            let chunk = response.chunk().await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
            return None;
        }
        Some(())
    })
    .await;
    lose_the_worker(&mut cluster);
    seen.push_str(&response.text().await.unwrap());
    assert!(seen.ends_with("data: [DONE]\n\n"), "{seen}");
    let answer = content(&chunks(&seen));
    assert!(answer.starts_with(&said) && answer.len() > said.len(), "{answer:?}");
    let shown = ann.ended(&turn).await;
    assert_eq!(tests::transcript::content_text(&shown.json["content"]), answer);
}

fn restart_in(events: &[SseEvent]) -> &SseEvent {
    let mut restarts = events.iter().filter(|event| event.name == "turn.restarted");
    let restart = restarts.next().unwrap_or_else(|| panic!("no restart in {events:?}"));
    assert!(restarts.next().is_none(), "{events:?}");
    restart
}

/// The events that are left of a stream.
async fn rest(stream: &mut EventStream) -> Vec<SseEvent> {
    let mut events = Vec::new();
    while let Some(event) = stream.next_real().await.unwrap() {
        events.push(event);
    }
    events
}

/// The events of a session's stream up to the end of a turn.
async fn session_events(stream: &mut EventStream) -> Vec<SseEvent> {
    let mut events: Vec<SseEvent> = Vec::new();
    while !events.last().is_some_and(SseEvent::is_end) {
        events.push(stream.next_real().await.unwrap().unwrap());
    }
    events
}
