//! Stopping in good order: clients are told where to go on, turns are finished or handed over.

use std::time::Duration;

use reqwest::Method;
use tests::{Client, Cluster, EventStream, SseEvent, Transcript, invariants};

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

/// Follows a session at `client`'s node, after what `resume` stands for.
async fn follow(client: &Client, session: &str, resume: Option<&str>) -> EventStream {
    let request = client.request(Method::GET, &format!("/v1/sessions/{session}/events"));
    client
        .open(resume.iter().fold(request, |request, id| request.header("last-event-id", *id)))
        .await
}

/// Reads on until the node says where to go on.
async fn until_it_closes(stream: &mut EventStream, seen: &mut Vec<SseEvent>) -> String {
    loop {
        let event = stream.next_real().await.unwrap().expect("a word before the end");
        if event.name == "stream.closing" {
            return event.json()["resume"].as_str().unwrap().to_owned();
        }
        seen.push(event);
    }
}

/// From node to node: each stops before a turn is heard of, at its start, in the midst of it, at
/// its end.
#[tokio::test]
async fn whoever_follows_a_session_misses_nothing_while_nodes_stop() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api")
        .node("b", "api")
        .node("core", "worker,projector,relay")
        .start()
        .await;
    let session = cluster.client("a", "acme", "ann").create_session().await;
    let (mut seen, mut turns, mut resume) = (Vec::new(), Vec::new(), None);
    for (round, read) in [0, 1, 30, 5, 0, 12].into_iter().enumerate() {
        let (here, there) = if round.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        let mut stream =
            follow(&cluster.client(here, "acme", "ann"), &session, resume.as_deref()).await;
        let ann = cluster.client(there, "acme", "ann");
        turns.push(ann.send_message(&session, "[[tokens=16 pause=30]]").await.id);
        let is_end = |event: &&SseEvent| event.is_end();
        for _ in 0..read {
            // No further than this round's turn.
            if seen.iter().filter(is_end).count() == turns.len() {
                break;
            }
            seen.push(stream.next_real().await.unwrap().expect("it goes on"));
        }
        cluster.node(here).terminate();
        resume = Some(until_it_closes(&mut stream, &mut seen).await);
        assert_eq!(cluster.node(here).ended(SOON).await.code(), Some(0));
        cluster.node(here).start();
        cluster.node(here).ready().await;
        ann.ended(turns.last().unwrap()).await;
    }
    let ann = cluster.client("a", "acme", "ann");
    let mut stream = follow(&ann, &session, resume.as_deref()).await;
    while seen.iter().filter(|event| event.is_end()).count() < turns.len() {
        seen.push(stream.next_real().await.unwrap().expect("it goes on"));
    }
    let mut expected = Vec::new();
    for turn in &turns {
        let whole = Transcript::of(ann.watch(turn, None).await).await;
        expected.extend(whole.ids().iter().map(|id| format!("{turn}:{id}")));
    }
    let ids: Vec<&str> = seen.iter().filter_map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, expected);
    invariants::check(&cluster.pool().await).await;
}
