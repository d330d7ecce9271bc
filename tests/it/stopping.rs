//! Stopping in good order: clients are told where to go on, turns are finished or handed over.

use std::time::Duration;

use tests::{Cluster, Transcript, invariants};

use crate::support::{BINARY, SOON};

#[tokio::test]
async fn a_stopping_node_ends_its_streams_with_a_hint_and_finishes_its_turns() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,worker,projector,relay")
        .node("b", "api,projector,relay")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let at_b = ann.at(cluster.base("b"));
    let session = ann.create_session().await;
    let text = "stopped while speaking [[tokens=40 pause=40]]";
    let mut stream = ann.stream_message(&session, text).await;
    let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 3).await);
    cluster.node("a").terminate();
    transcript.read_on(&mut stream).await;
    let closing = transcript.events.pop().unwrap();
    assert_eq!(closing.name, "stream.closing");
    assert_eq!(closing.json()["resume"].as_str(), transcript.last_id());

    // The worker in the same process finishes what it has begun.
    let mut resumed = at_b.watch(&turn, transcript.last_id()).await;
    transcript.read_on(&mut resumed).await;
    transcript.assert_ended();
    assert_eq!(transcript.text(), transcript.message_text());
    let status = cluster.node("a").ended(SOON).await;
    assert_eq!(status.code(), Some(0), "a clean stop");
    assert_eq!(cluster.provider.calls(text).len(), 1, "nobody was asked twice");
    let log = cluster.node("a").log();
    assert!(!log.contains("panicked"), "{log}");

    // Started again it takes up its work.
    cluster.node("a").start();
    cluster.node("a").ready().await;
    ann.say(&session, "back again").await.completed();
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_second_signal_hands_the_work_over() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let text = "handed over [[tokens=200 pause=40]]";
    let mut stream = ann.stream_message(&session, text).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 3).await);
    cluster.node("first").terminate();
    tests::eventually("it is stopping", SOON, async || {
        cluster.node("first").log().contains("stopping")
    })
    .await;
    cluster.node("first").terminate();
    let status = cluster.node("first").ended(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0));
    cluster.node("first").start();
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.text(), transcript.message_text());
    assert_eq!(cluster.provider.calls(text).len(), 2);
    let ends = invariants::check(&cluster.pool().await).await;
    assert_eq!(ends[&transcript.turn_id()].attempt, 2);
}
