//! Rolling restarts under load: whoever is told to stop finishes or hands over what it has, so
//! that no answer is lost, none is begun twice, and no client hears of it but to go elsewhere.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::{Client, Cluster, EventStream, Transcript, eventually, found, invariants, token};

use crate::support::{BINARY, SOON};

const CHAT: &str = "/v1/chat/completions";
/// A stop without haste: the answers in work take about a second.
const IN_PEACE: Duration = Duration::from_secs(25);

/// A user who goes to the other node when one has no time.
#[derive(Clone)]
struct Nomad {
    nodes: [Client; 2],
}

impl Nomad {
    fn new(bases: &[String; 2], user: &str) -> Self {
        // Each request has a connection of its own: a kept one may close while it is sent.
        let token = token::user("acme", user);
        Self { nodes: bases.clone().map(|base| Client::new(base, Some(token.clone()))) }
    }

    /// The answer of the first node that has one; `begin` is what is asked of each. Whoever
    /// is not there is passed over, and so is who says so.
    async fn ask(&self, first: usize, begin: impl Fn(&Client) -> RequestBuilder) -> Response {
        let mut turn = first;
        found("an answer", IN_PEACE, async || {
            turn += 1;
            let node = &self.nodes[turn % 2];
            let request = begin(node).header("connection", "close");
            let response = request.send().await.ok()?;
            let status = response.status();
            assert!(status.is_success() || status == 503, "{status} {:?}", response.text().await);
            status.is_success().then_some(response)
        })
        .await
    }

    /// Sends a message and watches its turn to the end, over as many connections as it takes.
    /// Tells how many those were.
    async fn converse(&self, first: usize, key: &str, text: &str) -> usize {
        let post = |node: &Client, path: &str, key: String, body: Value| {
            node.request(Method::POST, path).header("idempotency-key", key).json(&body)
        };
        let create = |node: &Client| post(node, "/v1/sessions", format!("s {key}"), json!({}));
        let created: Value = self.ask(first, create).await.json().await.unwrap();
        let path = format!("/v1/sessions/{}/messages", created["id"].as_str().unwrap());
        let send = |node: &Client| {
            let request = post(node, &path, format!("m {key}"), json!({ "content": text }));
            request.header("accept", "text/event-stream")
        };
        let mut stream = EventStream::new(self.ask(first, send).await);
        let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
        let (mut seen, mut connections) = (Transcript::default(), 1);
        loop {
            seen.read_on(&mut stream).await;
            if seen.end().is_some() {
                break;
            }
            // It tells where to go on; a connection that breaks without a word is none in order.
            let last = seen.events.pop().unwrap_or_else(|| panic!("{text}: nothing was told"));
            assert_eq!(last.name, "stream.closing", "{text}: {last:?}");
            let resume = last.json()["resume"].as_str().map(str::to_owned);
            assert_eq!(resume.as_deref(), seen.last_id());
            let path = format!("/v1/turns/{turn}/stream");
            let go_on = |node: &Client| {
                let request =
                    node.request(Method::GET, &path).header("accept", "text/event-stream");
                match &resume {
                    Some(id) => request.header("last-event-id", id),
                    None => request,
                }
            };
            stream = EventStream::new(self.ask(first + connections, go_on).await);
            connections += 1;
        }
        assert_eq!(seen.text(), seen.message_text());
        let restarts = seen.events.iter().filter(|event| event.name == "turn.restarted");
        assert_eq!(restarts.count(), 0, "{text}");
        connections
    }

    /// A chat completion, which must come whole on its one connection; tells its text.
    async fn chat(&self, first: usize, text: &str) -> String {
        let begin = |node: &Client| {
            let request = node.request(Method::POST, CHAT).header("idempotency-key", text);
            request.json(&chat_body(text))
        };
        whole_chat(self.ask(first, begin).await).await.unwrap_or_else(|rest| panic!("{rest}"))
    }
}

fn chat_body(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }], "stream": true })
}

/// The text of a chat completion's chunks; all that came, if it is not whole.
async fn whole_chat(response: Response) -> Result<String, String> {
    let mut bytes = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(Ok(piece)) = bytes.next().await {
        body.extend(piece);
    }
    let body = String::from_utf8(body).unwrap();
    if !body.ends_with("data: [DONE]\n\n") {
        return Err(body);
    }
    let chunks = body.lines().filter_map(|line| line.strip_prefix("data: {"));
    let text = |chunk: &str| {
        let chunk: Value = serde_json::from_str(&format!("{{{chunk}")).unwrap();
        chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    };
    Ok(chunks.map(text).collect())
}

/// What users did.
#[derive(Default)]
struct Done {
    enough: AtomicBool,
    conversations: AtomicUsize,
    connections: AtomicUsize,
    chats: AtomicUsize,
}

/// One user, who asks for one answer after the other.
async fn keep_asking(user: Nomad, number: usize, provider: tests::Provider, done: &Done) {
    for round in 0.. {
        if done.enough.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("rolling {number}.{round}");
        let text = format!("{name} [[tokens=40 pause=20]]");
        if number.is_multiple_of(2) {
            let connections = user.converse(round, &name, &text).await;
            done.connections.fetch_add(connections, Ordering::Relaxed);
            done.conversations.fetch_add(1, Ordering::Relaxed);
        } else {
            let said = user.chat(round, &text).await;
            assert_eq!(said, provider.calls(&text)[0].text);
            done.chats.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn count(pool: &PgPool, event: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1")
        .bind(event)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// No attempt was lost: each one that began is a call of the provider, and the turn's end.
async fn nothing_was_lost(cluster: &Cluster, pool: &PgPool) {
    let ends = invariants::check(pool).await;
    assert!(ends.values().all(|end| end.event == "TurnCompleted"), "{ends:?}");
    for event in ["AttemptAbandoned", "AttemptReleased", "CancelRequested"] {
        assert_eq!(count(pool, event).await, 0, "{event}");
    }
    let attempts = usize::try_from(count(pool, "AttemptStarted").await).unwrap();
    assert_eq!((attempts as u64, attempts), (cluster.provider.count(), ends.len()));
    invariants::nothing_is_parked(pool).await;
}

/// Restarts each of `roles` so many times, one after the other, while eight users ask the nodes
/// called `api`.
async fn roll(roles: &[(&str, &str)], api: [&str; 2], rounds: usize) {
    let builder = Cluster::builder(BINARY);
    let builder = roles.iter().fold(builder, |builder, (name, roles)| builder.node(name, roles));
    let mut cluster = builder.start().await;
    let bases = api.map(|name| cluster.base(name));
    let done = Done::default();
    let users = (0..8).map(|number| {
        let user = Nomad::new(&bases, &format!("user-{number}"));
        keep_asking(user, number, cluster.provider.clone(), &done)
    });
    let users = futures::future::join_all(users.collect::<Vec<_>>());
    let restarts = async {
        for (name, _) in roles.repeat(rounds) {
            let enough = done.conversations.load(Ordering::Relaxed) + 2;
            eventually("the load goes on", IN_PEACE, async || {
                done.conversations.load(Ordering::Relaxed) >= enough
            })
            .await;
            cluster.node(name).terminate();
            let status = cluster.node(name).ended(IN_PEACE).await;
            assert_eq!(status.code(), Some(0), "{name}");
            cluster.node(name).start();
            cluster.node(name).ready().await;
        }
        done.enough.store(true, Ordering::Relaxed);
    };
    tokio::join!(users, restarts);
    println!(
        "{:?} conversations on {:?} connections, {:?} chats",
        done.conversations, done.connections, done.chats
    );
    for (name, _) in roles {
        let log = cluster.node(name).log();
        assert!(!log.contains("panicked") && !log.contains("the grace is over"), "{log}");
    }
    let moved = done.connections.into_inner() - done.conversations.into_inner();
    assert!(moved > 0, "a watcher was sent on");
    nothing_was_lost(&cluster, &cluster.pool().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_is_restarted_under_load_and_nobody_misses_it() {
    let roles = [
        ("api-1", "api"),
        ("api-2", "api"),
        ("worker-1", "worker"),
        ("worker-2", "worker"),
        ("back-1", "projector,relay"),
        ("back-2", "projector,relay"),
    ];
    roll(&roles, ["api-1", "api-2"], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_all_roles_are_restarted_under_load_and_nobody_misses_it() {
    let all = "api,worker,projector,relay";
    roll(&[("one", all), ("two", all)], ["one", "two"], 3).await;
}

/// Two of each, one of which is to be stopped in the middle of an answer.
async fn pairs(grace_seconds: u64) -> Cluster {
    Cluster::builder(BINARY)
        .config(&format!("[shutdown]\ngrace_seconds = {grace_seconds}\n"))
        .node("a", "api")
        .node("b", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await
}

#[tokio::test]
async fn a_stopping_node_sees_chat_completions_through() {
    let mut cluster = pairs(30).await;
    let ann = cluster.client("a", "acme", "ann");
    let text = |name: &str| format!("seen through, {name} [[tokens=40 pause=25]]");
    let stream = ann.request(Method::POST, CHAT).json(&chat_body(&text("a stream")));
    let stream = stream.send().await.unwrap();
    let mut body = chat_body(&text("a wait"));
    body["stream"] = json!(false);
    let whole = tokio::spawn(ann.request(Method::POST, CHAT).json(&body).send());
    eventually("both are at it", SOON, async || cluster.provider.calls("seen through").len() == 2)
        .await;
    cluster.node("a").terminate();
    let streamed = whole_chat(stream).await.unwrap();
    assert_eq!(streamed, cluster.provider.calls("a stream")[0].text);
    let whole = whole.await.unwrap().unwrap();
    assert_eq!(whole.status(), 200);
    let whole: Value = whole.json().await.unwrap();
    let expected = cluster.provider.calls("a wait")[0].text.clone();
    assert_eq!(whole["choices"][0]["message"]["content"], expected);
    assert_eq!(cluster.node("a").ended(SOON).await.code(), Some(0));
    nothing_was_lost(&cluster, &cluster.pool().await).await;
}

/// Whoever leaves a node that is stopping leaves all the same.
#[tokio::test]
async fn a_chat_completion_that_is_left_during_a_stop_is_cancelled() {
    let mut cluster = pairs(30).await;
    let ann = cluster.client("a", "acme", "ann");
    let body = chat_body("left meanwhile [[tokens=400 pause=25]]");
    let response = ann.request(Method::POST, CHAT).json(&body).send().await.unwrap();
    let turn = response.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned();
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    cluster.node("a").terminate();
    eventually("it is stopping", SOON, async || cluster.node("a").log().contains("stopping")).await;
    bytes.next().await.unwrap().unwrap();
    drop(bytes);
    let at_b = ann.at(cluster.base("b"));
    assert_eq!(at_b.ended(&turn).await.text("/status"), "cancelled");
    assert_eq!(cluster.node("a").ended(SOON).await.code(), Some(0));
    invariants::check(&cluster.pool().await).await;
}

/// What is in work on `first`, and on its way through `a`, when both have to end: by a second
/// signal, or because the grace is over.
async fn ends_hard(grace_seconds: u64, signals: usize) {
    let mut cluster = pairs(grace_seconds).await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let text = |name: &str| format!("cut short, {name} [[tokens=120 pause=25]]");
    let session = ann.create_session().await;
    let mut stream = ann.stream_message(&session, &text("a viewer")).await;
    let mut seen = Transcript::default();
    assert!(seen.read_deltas(&mut stream, 3).await);
    let chat = ann.request(Method::POST, CHAT).json(&chat_body(&text("a chat")));
    let chat = chat.send().await.unwrap();
    let chat_turn = chat.headers()["x-colloquy-turn-id"].to_str().unwrap().to_owned();
    eventually("both are at it", SOON, async || {
        cluster.provider.calls("cut short").iter().all(|call| call.tokens > 0)
            && cluster.provider.calls("cut short").len() == 2
    })
    .await;
    for name in ["a", "first"] {
        cluster.node(name).terminate();
        eventually("it is stopping", SOON, async || cluster.node(name).log().contains("stopping"))
            .await;
        for _ in 1..signals {
            cluster.node(name).terminate();
        }
    }
    let said = whole_chat(chat).await.unwrap_err();
    assert!(said.contains("\"code\":\"stopping\"") && said.contains(&chat_turn), "{said}");
    seen.read_on(&mut stream).await;
    assert_eq!(seen.events.pop().unwrap().name, "stream.closing");
    for name in ["a", "first"] {
        let status = cluster.node(name).ended(SOON).await;
        assert_eq!(status.code(), Some(0), "{name}: a clean end");
    }
    cluster.node("first").start();
    let mut resumed = at_b.watch(&seen.turn_id(), seen.last_id()).await;
    seen.read_on(&mut resumed).await;
    assert_eq!(seen.text(), seen.message_text());
    let pool = cluster.pool().await;
    for turn in [seen.turn_id(), chat_turn] {
        let shown = at_b.ended(&turn).await;
        assert_eq!((shown.text("/status").as_str(), shown.number("/attempt")), ("completed", 2));
        let abandoned = shown.json["abandoned_attempts"].as_array().cloned().unwrap_or_default();
        let codes: Vec<&Value> = abandoned.iter().map(|attempt| &attempt["code"]).collect();
        assert_eq!(codes, ["released"], "{abandoned:?}");
    }
    assert_eq!(count(&pool, "AttemptReleased").await, 2);
    assert_eq!(count(&pool, "AttemptAbandoned").await, 0);
    assert_eq!(cluster.provider.calls("cut short").len(), 4);
    invariants::check(&pool).await;
}

#[tokio::test]
async fn a_second_signal_ends_hard_but_clean() {
    ends_hard(30, 2).await;
}

#[tokio::test]
async fn the_end_of_the_grace_is_hard_but_clean() {
    ends_hard(1, 1).await;
}
