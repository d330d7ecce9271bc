//! Exact limits: a thousand requests at once over three API processes, where there is room for
//! ten.

mod history;

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Cluster, Transcript, eventually, invariants};

use super::support::{account_path, admin, limit, limit_of};
use crate::support::BINARY;

const TENANT: &str = "crowd";
const NODES: [&str; 3] = ["a", "b", "c"];
/// Requests at once, and how many of them are native messages.
const CROWD: usize = 1000;
const MESSAGES: usize = 50;
/// How many there is room for.
const ROOM: u64 = 10;
/// Of a user whom nobody limits, in the middle of it.
const OTHERS: usize = 6;
const TEXT: &str = "one of a thousand [[tokens=4]]";
const MAX_TOKENS: u64 = 20;

const CONFIG: &str = r#"
[quota]
default_tier = "unlimited"

[[prices]]
service = "*"
model = "scripted"
input_per_1k = "0.1"
output_per_1k = "0.3"
from = "2020-01-01T00:00:00Z"
"#;

/// What one turn needs.
struct Need {
    tokens: u64,
    credits: String,
}

/// A user with limits, and what those say who are refused.
struct Crowd {
    user: &'static str,
    limits: Value,
    refused_by: &'static str,
    renews: bool,
}

fn crowds(need: &Need) -> [Crowd; 4] {
    // Room for ten, and not quite for one more.
    let tokens = need.tokens * (ROOM + 1) - 1;
    let credits: domain::Credits = need.credits.parse().unwrap();
    let credits = credits.times(ROOM).plus("0.000000000001".parse().unwrap());
    [
        Crowd {
            user: "rpm",
            limits: json!({ "requests_per_minute": ROOM }),
            refused_by: "requests_per_minute",
            renews: true,
        },
        Crowd {
            user: "day",
            limits: json!({ "tokens_per_day": tokens }),
            refused_by: "tokens_per_day",
            renews: true,
        },
        Crowd {
            user: "money",
            limits: json!({ "credit_balance": credits }),
            refused_by: "credit_balance",
            renews: false,
        },
        // Several are full: the one that renews last is named.
        Crowd {
            user: "several",
            limits: json!({
                "requests_per_minute": ROOM, "tokens_per_day": tokens, "credits_per_day": "1000",
                "tokens_per_month": tokens, "tokens_total": 1_000_000,
            }),
            refused_by: "tokens_per_month",
            renews: true,
        },
    ]
}

fn completion(client: &Client) -> reqwest::RequestBuilder {
    client.request(Method::POST, "/v1/chat/completions").json(&json!({
        "model": "scripted", "messages": [{ "role": "user", "content": TEXT }],
        "max_tokens": MAX_TOKENS, "stream": true,
    }))
}

fn message(client: &Client, session: &str) -> reqwest::RequestBuilder {
    let path = format!("/v1/sessions/{session}/messages");
    let settings = json!({ "max_tokens": MAX_TOKENS });
    client.request(Method::POST, &path).json(&json!({ "content": TEXT, "settings": settings }))
}

/// What a turn needs, as those are told whom there is no room for.
async fn need(olga: &Client, client: &Client) -> Need {
    limit(olga, "probe", json!({ "tokens_per_day": 1 })).await;
    let refused = client.send(completion(client)).await.expect(429);
    assert_eq!(refused.code(), "insufficient_quota");
    let session = client.create_session().await;
    let refused = client.send(message(client, &session)).await.expect(429);
    let tokens = refused.number("/needed").unsigned_abs();
    assert!(tokens > MAX_TOKENS && tokens < 100, "{}", refused.body);
    // More than the whole limit: nothing to wait for.
    assert_eq!(refused.header("retry-after"), None, "{}", refused.body);
    let path = account_path("probe", "/limits");
    let dear = json!({ "tokens_per_day": null, "credits_per_day": "0.000001" });
    olga.patch(&path, &dear).await.expect(200);
    let refused = client.send(message(client, &session)).await.expect(429);
    Need { tokens, credits: refused.text("/needed") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_get_exactly_what_there_is_room_for() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("c", "api")
        .node("worker", "worker")
        .config(CONFIG)
        .start()
        .await;
    // Nobody answers, so nothing is settled while the crowd comes.
    cluster.node("worker").kill();
    let olga = admin(&cluster, "a", TENANT);
    let need = need(&olga, &cluster.client("b", TENANT, "probe")).await;
    let mut running = Vec::new();
    for crowd in crowds(&need) {
        limit(&olga, crowd.user, crowd.limits.clone()).await;
        running.extend(come(&cluster, &crowd, &need).await);
    }
    cluster.node("worker").start();
    for response in running {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = response.text().await.unwrap();
        assert!(text.contains("[DONE]") || text.contains("turn.completed"), "{text}");
    }
    let pool = cluster.pool().await;
    let ends = invariants::check(&pool).await;
    assert_eq!(ends.len(), 4 * (usize::try_from(ROOM).unwrap() + OTHERS));
    assert!(ends.values().all(|end| end.event == "TurnCompleted"));
    for crowd in crowds(&need) {
        settled(&cluster, &crowd).await;
    }
    refused_at_rest(&cluster.client("b", TENANT, "day")).await;
    a_cancelled_turn_makes_room(&mut cluster, &olga).await;
}

/// The crowd comes; tells the turns that were accepted.
async fn come(cluster: &Cluster, crowd: &Crowd, need: &Need) -> Vec<reqwest::Response> {
    let clients = NODES.map(|node| cluster.client(node, TENANT, crowd.user));
    let sessions = join_all((0..MESSAGES).map(|_| clients[0].create_session())).await;
    let send = async |number: usize| {
        let client = &clients[number % NODES.len()];
        let request = match sessions.get(number) {
            Some(session) => message(client, session).header("accept", "text/event-stream"),
            None => completion(client),
        };
        client.begin(request).await
    };
    let bob = cluster.client("c", TENANT, "bob");
    let others = (0..OTHERS).map(|_| async { bob.begin(completion(&bob)).await });
    let (outcomes, others) = tokio::join!(join_all((0..CROWD).map(send)), join_all(others));
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(response) => accepted.push(response),
            Err(answer) => refused.push(answer),
        }
    }
    assert_eq!(accepted.len() as u64, ROOM, "{}", crowd.user);
    for answer in &refused {
        assert_refusal(answer, crowd, need);
    }
    accepted.extend(others.into_iter().map(|other| other.expect("others have room")));
    accepted
}

fn assert_refusal(answer: &Answer, crowd: &Crowd, need: &Need) {
    assert_eq!(answer.status, 429, "{}: {}", crowd.user, answer.body);
    let by_requests = crowd.refused_by == "requests_per_minute";
    let code = if by_requests { "rate_limit_exceeded" } else { "insufficient_quota" };
    assert_eq!(answer.code(), code);
    // What the ten hold may come back soon; the minute's end is known.
    assert_eq!(answer.header("x-should-retry"), None, "{}", answer.body);
    let wait = answer.header("retry-after").unwrap().parse::<u64>().unwrap();
    assert!(if by_requests { (1..=60).contains(&wait) } else { wait == 5 }, "{wait}");
    let of = crowd.limits.get("requests_per_minute").map(ToString::to_string);
    assert_eq!(answer.header("x-ratelimit-limit-requests"), of.as_deref());
    if answer.json["error"].is_object() {
        let kind = if by_requests { "requests" } else { "insufficient_quota" };
        assert_eq!(answer.text("/error/type"), kind);
        assert!(answer.text("/error/message").contains(crowd.refused_by), "{}", answer.body);
        return;
    }
    assert_eq!(answer.text("/limit"), crowd.refused_by);
    assert_eq!(answer.json["limit_value"], crowd.limits[crowd.refused_by], "{}", answer.body);
    assert_eq!(answer.json["renews_at"].is_string(), crowd.renews);
    match crowd.user {
        "rpm" => assert_eq!((answer.number("/left"), answer.number("/needed")), (0, 1)),
        "money" => {
            assert_eq!(answer.text("/left"), "0.000000000001");
            assert_eq!(answer.text("/needed"), need.credits);
        }
        _ => {
            assert_eq!(answer.number("/needed").unsigned_abs(), need.tokens);
            assert_eq!(answer.number("/left").unsigned_abs(), need.tokens - 1);
        }
    }
}

/// At rest: ten were requested, ten were charged, nothing else was written.
async fn settled(cluster: &Cluster, crowd: &Crowd) {
    let olga = admin(cluster, "b", TENANT);
    let audit = olga.get(&format!("/v1/audit/accounts/{}", crowd.user)).await.expect(200);
    let events = audit.json["events"].as_array().unwrap();
    let count = |name: &str| events.iter().filter(|event| event["event_type"] == name).count();
    let ten = usize::try_from(ROOM).unwrap();
    assert_eq!((count("QuotaReserved"), count("QuotaConsumed")), (ten, ten));
    assert_eq!(events.len(), 2 + 2 * ten, "nothing is written of a refusal");
    let account = cluster.client("c", TENANT, crowd.user).get("/v1/quota").await.expect(200);
    let day = limit_of(&account.json, "tokens_per_day");
    assert_eq!(day["reserved"], 0);
    // The scripted answers are shorter than what was held for them.
    assert!(day["used"].as_u64().unwrap() >= ROOM * 4, "{day}");
}

/// Where nothing is held, what doesn't fit has to wait for the next day: no client shall try
/// again by itself.
async fn refused_at_rest(client: &Client) {
    let account = client.get("/v1/quota").await.expect(200);
    let left = limit_of(&account.json, "tokens_per_day")["remaining"].clone();
    let body = json!({
        "model": "scripted", "messages": [{ "role": "user", "content": TEXT }], "max_tokens": left,
    });
    let refused = client.post("/v1/chat/completions", &body).await.expect(429);
    assert_eq!(refused.text("/error/code"), "insufficient_quota");
    assert_eq!(refused.text("/error/type"), "insufficient_quota");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let wait = refused.header("retry-after").unwrap().parse::<u64>().unwrap();
    assert!((1..=86400).contains(&wait), "{wait}");
    let remaining = refused.header("x-ratelimit-remaining-tokens").map(str::to_owned);
    assert_eq!(remaining, Some(left.to_string()));
    assert!(refused.header("x-ratelimit-reset-tokens").is_some());
}

/// A turn that nobody took yet is cancelled: its place is free at once.
async fn a_cancelled_turn_makes_room(cluster: &mut Cluster, olga: &Client) {
    cluster.node("worker").kill();
    limit(olga, "last", json!({ "requests_per_minute": 0, "tokens_per_day": 60 })).await;
    let last = cluster.client("a", TENANT, "last");
    let at_b = last.at(cluster.base("b"));
    let (first, second) = (last.create_session().await, last.create_session().await);
    let turn = tests::client::turn(&last.send(message(&last, &first)).await.expect(202));
    at_b.send(message(&at_b, &second)).await.expect(429);
    at_b.post_empty(&format!("/v1/turns/{}/cancel", turn.id)).await.expect(202);
    let ended = last.ended(&turn.id).await;
    assert_eq!(ended.text("/status"), "cancelled");
    assert_eq!(ended.json["credits"], Value::Null);
    last.send(message(&last, &second)).await.expect(202);
    cluster.node("worker").start();
    let stream = last.watch(&turn.id, None).await;
    assert_eq!(Transcript::of(stream).await.end().unwrap().name, "turn.cancelled");
    let pool = cluster.pool().await;
    eventually("all is at rest", Duration::from_secs(20), async || {
        let account = last.get("/v1/quota").await.expect(200);
        limit_of(&account.json, "tokens_per_day")["reserved"] == 0
    })
    .await;
    invariants::check(&pool).await;
}
