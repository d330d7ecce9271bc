//! Workers that have to end in the middle of an answer give it back: the next one takes it up at
//! once, however often that happens.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Client, Cluster, Transcript, eventually, found, invariants};

use crate::support::{BINARY, SOON};

/// With room for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);
const WORKERS: [&str; 2] = ["first", "second"];

/// Two signals end `name` at once.
async fn end_at_once(cluster: &mut Cluster, name: &str) {
    let stopping = |log: String| log.matches("stopping; a second signal").count();
    let before = stopping(cluster.node(name).log());
    cluster.node(name).terminate();
    eventually("it is stopping", SOON, async || stopping(cluster.node(name).log()) > before).await;
    cluster.node(name).terminate();
    let status = cluster.node(name).ended(SOON).await;
    assert_eq!(status.code(), Some(0), "a clean stop");
}

/// The node whose worker has the turn.
async fn holder(cluster: &mut Cluster, ann: &Client, turn: &str) -> &'static str {
    let path = format!("/v1/turns/{turn}");
    // The read model may be a moment behind the words.
    found("somebody holds the turn", SOON, async || {
        let shown = ann.get(&path).await.expect(200);
        let worker = shown.json["worker_id"].as_str()?.to_owned();
        let of = |name: &&str| worker.contains(&format!("-{}-", cluster.node(name).pid()));
        WORKERS.into_iter().find(of).filter(|_| shown.json["status"] == "running")
    })
    .await
}

/// How often an attempt was seen to begin.
fn beginnings(transcript: &Transcript) -> usize {
    let begins = |name: &str| matches!(name, "turn.started" | "turn.restarted");
    transcript.events.iter().filter(|event| begins(&event.name)).count()
}

/// The names of a session's events, from the audit.
async fn history(ann: &Client, session: &str) -> (Vec<String>, Value) {
    let audit = ann.get(&format!("/v1/audit/sessions/{session}")).await.expect(200);
    let events = audit.json["events"].as_array().unwrap();
    let name = |event: &Value| event["event_type"].as_str().unwrap().to_owned();
    (events.iter().map(name).collect(), audit.json["state"].clone())
}

#[tokio::test]
async fn a_turn_outlives_any_number_of_planned_stops() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .node("second", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let text = "handed on and on [[tokens=150 pause=30]]";
    let mut stream = ann.stream_message(&session, text).await;
    let mut transcript = Transcript::default();
    for round in 1..=4 {
        let deltas = transcript.deltas() + 3;
        assert!(transcript.read_deltas(&mut stream, deltas).await);
        let name = holder(&mut cluster, &ann, &transcript.turn_id()).await;
        end_at_once(&mut cluster, name).await;
        let ended = Instant::now();
        cluster.node(name).start();
        while beginnings(&transcript) == round {
            let deltas = transcript.deltas() + 1;
            assert!(transcript.read_deltas(&mut stream, deltas).await);
        }
        assert!(ended.elapsed() < AT_ONCE, "the next worker began {:?} later", ended.elapsed());
    }
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.text(), transcript.message_text());
    let calls = cluster.provider.calls(text);
    assert_eq!((calls.len(), calls[4].text.as_str()), (5, transcript.text()));

    let (names, state) = history(&ann, &session).await;
    let mut expected = vec!["SessionCreated", "MessageSent", "TurnRequested"];
    expected.extend(["AttemptStarted", "AttemptReleased"].repeat(4));
    expected.extend(["AttemptStarted", "TurnCompleted"]);
    assert_eq!(names, expected);
    let turn = transcript.turn_id();
    assert_eq!(state["turns"][&turn]["lost"], 0);
    let pool = cluster.pool().await;
    assert_eq!(invariants::check(&pool).await[&turn].attempt, 5);
    invariants::same_text_everywhere(&ann, &session, &turn, transcript.text()).await;
    invariants::nothing_is_parked(&pool).await;
    invariants::rebuild_changes_nothing(&cluster, &pool).await;
}

#[tokio::test]
async fn a_turn_given_back_waits_and_can_be_stopped() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let mut stream = ann.stream_message(&session, "given back [[tokens=200 pause=40]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 3).await);
    end_at_once(&mut cluster, "first").await;
    let turn = transcript.turn_id();
    let path = format!("/v1/turns/{turn}");
    eventually("it waits again", AT_ONCE, async || {
        ann.get(&path).await.expect(200).text("/status") == "queued"
    })
    .await;
    let waiting = ann.get(&path).await.expect(200);
    assert_eq!((waiting.number("/attempt"), &waiting.json["worker_id"]), (1, &Value::Null));

    // Nobody is there to confirm it, and nobody has to.
    ann.post_empty(&format!("{path}/cancel")).await.expect(202);
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.end().unwrap().name, "turn.cancelled");
    assert_eq!(transcript.end().unwrap().json()["attempt"], 1);
    cluster.node("first").start();
    ann.say(&session, "and now?").await.completed();
    let pool = cluster.pool().await;
    assert_eq!(invariants::check(&pool).await[&turn].event, "TurnCancelled");
}
