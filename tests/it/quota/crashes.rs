//! Bills after crashes: workers and API nodes killed at random moments, the broker wiped. Every
//! turn is charged once, for the attempt whose answer stands, and nothing stays held.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::client::Turn;
use tests::invariants::{self, EndOfTurn};
use tests::{Client, Cluster, eventually, found};

use crate::support::BINARY;

const USERS: [&str; 3] = ["ann", "bob", "cid"];
const TURNS_OF_A_USER: usize = 20;
const APIS: [&str; 2] = ["a", "b"];
/// With room for a turn whose worker is killed twice: its job comes again after 30 seconds.
const PATIENCE: Duration = Duration::from_secs(90);

const CONFIG: &str = r#"
[quota]
default_tier = "metered"
answer_step = 16

[tiers]
metered = { tokens_per_day = 1000000, credit_balance = "1000" }

[[prices]]
service = "*"
model = "scripted"
input_per_1k = "1"
output_per_1k = "2"
from = "2020-01-01T00:00:00Z"
"#;

/// Random numbers that can be had again: the seed is printed when the test fails.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u64));
        eprintln!("TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// From 0 to `below`, by xorshift.
    fn roll(&mut self, below: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

async fn cluster() -> Cluster {
    Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker-1", "worker")
        .node("worker-2", "worker")
        .config(CONFIG)
        .start()
        .await
}

/// Sends under a key until some node has taken it, whichever is alive.
async fn insist(nodes: &[Client; 2], path: &str, key: &str, body: &Value) -> tests::Answer {
    let mut tries = 0;
    found("a node takes it", PATIENCE, async || {
        let client = &nodes[tries % nodes.len()];
        tries += 1;
        let request = client.request(Method::POST, path).header("idempotency-key", key);
        let answer = client.try_send(request.json(body)).await?;
        assert!(answer.status < 500 || answer.status == 503, "{}", answer.body);
        (answer.status < 300).then_some(answer)
    })
    .await
}

/// A turn in a session of its own; some end in a failure, one in ten has no count.
async fn one_turn(nodes: &[Client; 2], name: &str, number: usize) -> Turn {
    let key = format!("{name} {number}");
    let session = insist(nodes, "/v1/sessions", &format!("{key} session"), &json!({})).await;
    let more = match number % 10 {
        3 => " cut=9",
        5 => " no-usage",
        _ => "",
    };
    let tokens = 20 + number;
    let text = format!("{key} [[tokens={tokens} pause=30{more}]]");
    let path = format!("/v1/sessions/{}/messages", session.text("/id"));
    tests::client::turn(&insist(nodes, &path, &key, &json!({ "content": text })).await)
}

/// All turns of all users, a few at a time.
async fn load(cluster: &Cluster, name: &str) -> Vec<Turn> {
    let users = USERS.map(|user| APIS.map(|node| cluster.client(node, "acme", user)));
    let talk = async |user: usize| {
        let mut turns = Vec::new();
        for number in 0..TURNS_OF_A_USER {
            let name = format!("{name} {}", USERS[user]);
            turns.push(one_turn(&users[user], &name, number).await);
        }
        turns
    };
    join_all((0..USERS.len()).map(talk)).await.into_iter().flatten().collect()
}

/// All have ended, by themselves; the invariants hold; and every charge is what the provider
/// counted for the answer that stands.
async fn assert_billed_right(cluster: &Cluster, turns: &[Turn]) {
    let pool = cluster.pool().await;
    eventually("every turn has ended", PATIENCE, async || {
        let open = "SELECT count(*) FROM turns WHERE ended_at IS NULL";
        sqlx::query_scalar::<_, i64>(open).fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    let ends = invariants::check(&pool).await;
    invariants::acknowledged_turns_stand(&pool, turns).await;
    assert_eq!(ends.len(), turns.len(), "nothing was requested twice");
    let bills = charged(&pool).await;
    let mut counted = HashMap::new();
    for call in cluster.provider.calls("") {
        counted.insert(format!("#{} ", call.number), call);
    }
    for turn in turns {
        let end = &ends[&turn.id];
        let charges = bills.get(&turn.id).map(Vec::as_slice).unwrap_or_default();
        assert_charge(turn, end, charges, &counted);
    }
    let completed = ends.values().filter(|end| end.event == "TurnCompleted").count();
    assert!(completed > turns.len() / 2, "most were answered");
    invariants::rebuild_changes_nothing(cluster, &pool).await;
}

/// The usage that each turn was charged for, by the log.
async fn charged(pool: &PgPool) -> HashMap<String, Vec<Value>> {
    let rows: Vec<Value> = sqlx::query_scalar(
        "SELECT payload->'QuotaConsumed' FROM events WHERE event_type = 'QuotaConsumed'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut charged = HashMap::<String, Vec<Value>>::new();
    for row in rows {
        let turn = row["turn_id"].as_str().unwrap().to_owned();
        charged.entry(turn).or_default().push(row["usage"].clone());
    }
    charged
}

fn assert_charge(
    turn: &Turn,
    end: &EndOfTurn,
    charges: &[Value],
    counted: &HashMap<String, tests::provider::Call>,
) {
    if end.event != "TurnCompleted" {
        assert!(charges.is_empty(), "{turn:?} {end:?} {charges:?}");
        return;
    }
    let [charge] = charges else { panic!("charged {} times: {turn:?}", charges.len()) };
    let text = end.text.as_ref().unwrap();
    // The answer's first word names the request that it came from.
    let call = &counted[&text[..=text.find(' ').unwrap()]];
    assert_eq!(&call.text, text, "the answer is that of one request");
    match call.usage {
        Some(usage) => {
            let told = (&charge["prompt_tokens"], &charge["completion_tokens"]);
            assert_eq!(told, (&json!(usage.prompt), &json!(usage.completion)), "{turn:?}");
            assert_eq!(charge["estimated"], false);
        }
        None => assert_eq!(charge["estimated"], true, "{turn:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_change_no_bill() {
    let mut cluster = cluster().await;
    let mut dice = Dice::new();
    let nodes = USERS.map(|user| APIS.map(|node| cluster.client(node, "acme", user)));
    let mut turns = Vec::new();
    // What to kill, and after how many of a user's turns: one worker late enough for others to
    // be left, API nodes in turn.
    let kills: Vec<(usize, &str)> = ["a", "worker-1", "b", "worker-2"]
        .into_iter()
        .zip(1..)
        .map(|(node, part)| (part * 4 + dice.roll(4), node))
        .collect();
    for number in 0..TURNS_OF_A_USER {
        let round = nodes.iter().zip(USERS).map(|(nodes, user)| {
            let name = format!("killed {user}");
            async move { one_turn(nodes, &name, number).await }
        });
        let (round, ()) = tokio::join!(join_all(round), async {
            let Some((_, node)) = kills.iter().find(|(after, _)| *after == number) else { return };
            // At any moment of the requests of this round, or of the answers to earlier ones.
            tokio::time::sleep(Duration::from_millis(dice.roll(40) as u64)).await;
            cluster.node(node).kill();
            cluster.node(node).start();
        });
        turns.extend(round);
    }
    for node in APIS {
        cluster.node(node).ready().await;
    }
    assert_billed_right(&cluster, &turns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_broker_changes_no_bill() {
    let mut cluster = cluster().await;
    let mut turns = load(&cluster, "before").await;
    cluster.nats.kill().await.unwrap();
    cluster.nats.delete_store().unwrap();
    turns.extend(load(&cluster, "during").await);
    cluster.nats.start_again().await.unwrap();
    assert_billed_right(&cluster, &turns).await;
}
