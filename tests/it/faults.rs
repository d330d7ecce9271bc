//! NATS and Postgres that go away, idle and busy, and a node that is cut off: nothing that was
//! accepted is lost, and everything goes on by itself.

use std::time::Duration;

use tests::client::{Client, Turn};
use tests::{Cluster, Transcript, found, invariants};

use crate::support::BINARY;

const RECOVERY: Duration = Duration::from_secs(45);

/// Sends `text` to a new session, again and again under the same keys until it is accepted.
async fn send_patiently(client: &Client, text: &str) -> Turn {
    let key = format!("key {text}");
    let create = || client.request(reqwest::Method::POST, "/v1/sessions");
    let session = found("a session is accepted", RECOVERY, async || {
        let request = create().header("idempotency-key", &key).body("{}");
        let answer = client.try_send(request).await?;
        (answer.status == 201).then(|| answer.text("/id"))
    })
    .await;
    let path = format!("/v1/sessions/{session}/messages");
    found("a message is accepted", RECOVERY, async || {
        let request = client.request(reqwest::Method::POST, &path);
        let request = request.header("idempotency-key", format!("{key} message"));
        let answer = client.try_send(request.json(&serde_json::json!({ "content": text }))).await?;
        (answer.status == 202).then(|| tests::client::turn(&answer))
    })
    .await
}

/// Starts `count` turns; they are busy for a while.
async fn start_turns(client: &Client, name: &str, count: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    for number in 0..count {
        let text = format!("{name} {number} [[tokens=40 pause=40]]");
        turns.push(send_patiently(client, &text).await);
    }
    turns
}

/// Watches `turn` to its end over as many connections as it takes.
async fn watch_patiently(client: &Client, turn: &str) -> Transcript {
    let mut transcript = Transcript::default();
    let path = format!("/v1/turns/{turn}/stream");
    found("the turn is seen to its end", RECOVERY, async || {
        let request = client.request(reqwest::Method::GET, &path);
        let request = match transcript.last_id() {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = request.send().await.ok().filter(|response| response.status() == 200)?;
        transcript.read_on(&mut tests::EventStream::new(response)).await;
        transcript.end().is_some().then_some(())
    })
    .await;
    transcript
}

/// All turns are completed, seen whole, and every invariant holds.
async fn assert_recovered(cluster: &Cluster, client: &Client, turns: &[Turn]) {
    for turn in turns {
        let transcript = watch_patiently(client, &turn.id).await;
        assert_eq!(transcript.text(), transcript.message_text());
        assert_eq!(client.ended(&turn.id).await.text("/status"), "completed");
    }
    let pool = cluster.pool().await;
    invariants::check(&pool).await;
    invariants::acknowledged_turns_stand(&pool, turns).await;
    invariants::nothing_is_parked(&pool).await;
    let next = send_patiently(client, &format!("afterwards {}", turns.len())).await;
    assert_eq!(client.ended(&next.id).await.text("/status"), "completed");
}

#[tokio::test]
async fn nats_may_be_restarted_killed_and_wiped() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let mut turns = start_turns(&ann, "before", 1).await;
    assert_recovered(&cluster, &ann, &turns).await;

    cluster.nats.restart().await.unwrap();
    turns.extend(start_turns(&ann, "after an idle restart", 1).await);
    assert_recovered(&cluster, &ann, &turns).await;

    let watched = send_patiently(&ann, "watched through a crash [[tokens=80 pause=40]]").await;
    turns.extend(start_turns(&ann, "through a crash", 5).await);
    let at_b = ann.at(cluster.base("b"));
    let (transcript, ()) = tokio::join!(watch_patiently(&at_b, &watched.id), async {
        cluster.nats.kill().await.unwrap();
        turns.extend(start_turns(&ann, "while NATS is away", 3).await);
        cluster.nats.start_again().await.unwrap();
    });
    assert_eq!(transcript.text(), transcript.message_text());
    turns.push(watched);
    assert_recovered(&cluster, &ann, &turns).await;

    turns.extend(start_turns(&ann, "before the wipe", 5).await);
    cluster.nats.kill().await.unwrap();
    cluster.nats.delete_store().unwrap();
    turns.extend(start_turns(&ann, "during the wipe", 3).await);
    cluster.nats.start_again().await.unwrap();
    assert_recovered(&cluster, &ann, &turns).await;
    invariants::rebuild_changes_nothing(&cluster, &cluster.pool().await).await;
}

#[tokio::test]
async fn postgres_may_be_restarted_and_killed() {
    let mut cluster = Cluster::builder(BINARY)
        .own_postgres()
        .node("a", "api,projector,relay")
        .node("worker", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let mut turns = start_turns(&ann, "before", 1).await;
    assert_recovered(&cluster, &ann, &turns).await;

    cluster.postgres.as_mut().unwrap().restart().await.unwrap();
    turns.extend(start_turns(&ann, "after an idle restart", 1).await);
    assert_recovered(&cluster, &ann, &turns).await;

    let watched = send_patiently(&ann, "streams through a crash [[tokens=60 pause=50]]").await;
    turns.extend(start_turns(&ann, "through a crash", 4).await);
    let mut stream = ann.watch(&watched.id, None).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 2).await);
    cluster.postgres.as_mut().unwrap().kill().await.unwrap();
    let down = ann.try_send(ann.request(reqwest::Method::POST, "/v1/sessions").body("{}"));
    let (down, started) = tokio::join!(down, async {
        // Words go on while the database is away.
        assert!(transcript.read_deltas(&mut stream, 8).await);
        cluster.postgres.as_mut().unwrap().start_again().await
    });
    started.unwrap();
    let down = down.expect("an answer while the database is away");
    assert!([201, 503].contains(&down.status), "{}", down.body);
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.text(), transcript.message_text());
    turns.push(watched);
    assert_recovered(&cluster, &ann, &turns).await;
    invariants::rebuild_changes_nothing(&cluster, &cluster.pool().await).await;
}

#[tokio::test]
async fn an_api_node_cut_off_from_nats_still_serves() {
    let cluster = Cluster::builder(BINARY)
        .node_behind_proxy("cut-off", "api")
        .node("core", "api,worker,projector,relay")
        .start()
        .await;
    let ann = cluster.client("cut-off", "acme", "ann");
    let mut turns = vec![send_patiently(&ann, "before the cut [[tokens=5]]").await];
    assert_recovered(&cluster, &ann, &turns).await;
    cluster.proxy("cut-off").cut();
    // Commands need only the database; the stream comes when the turn has ended.
    let turn = send_patiently(&ann, "behind the cut [[tokens=20 pause=30]]").await;
    let transcript = watch_patiently(&ann, &turn.id).await;
    assert_eq!(transcript.text(), transcript.message_text());
    turns.push(turn);
    let health = ann.get("/health").await.expect(200);
    assert_eq!(health.text("/status"), "degraded");
    ann.get("/readyz").await.expect(200);
    cluster.proxy("cut-off").pass();
    assert_recovered(&cluster, &ann, &turns).await;
}
