//! What goes on without NATS, and without what it held.

use std::time::Duration;

use serde_json::Value;
use tests::{Cluster, Transcript, found};

use crate::support::BINARY;

async fn cluster() -> Cluster {
    Cluster::builder(BINARY).node("all", "api,worker,projector,relay").start().await
}

#[tokio::test]
async fn a_running_turn_ends_while_nats_is_away() {
    let mut cluster = cluster().await;
    let ann = cluster.client("all", "acme", "ann");
    let session = ann.create_session().await;
    let mut stream = ann.stream_message(&session, "[[tokens=40 pause=25]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 2).await);
    cluster.nats.kill().await.unwrap();

    // The watcher has the rest from Postgres, and the history is there.
    transcript.read_on(&mut stream).await;
    transcript.assert_ended();
    assert_eq!(transcript.text(), transcript.message_text());
    let turn = ann.get(&format!("/v1/turns/{}", transcript.turn_id())).await.expect(200);
    assert_eq!(turn.text("/status"), "completed");

    // A message is accepted all the same, and answered when NATS is back.
    let next = ann.send_message(&session, "still there?").await;
    cluster.nats.start_again().await.unwrap();
    assert_eq!(ann.ended(&next.id).await.text("/status"), "completed");
}

#[tokio::test]
async fn a_turn_of_a_cleared_history_still_has_an_end() {
    let mut cluster = cluster().await;
    let ann = cluster.client("all", "acme", "ann");
    let session = ann.create_session().await;
    let said = ann.say(&session, "hello").await;
    let cleared = ann.delete(&format!("/v1/sessions/{session}/messages")).await.expect(204);
    let position = cleared.header("x-colloquy-position").unwrap().to_owned();
    // What NATS holds of the turn is forgotten too.
    cluster.nats.kill().await.unwrap();
    cluster.nats.delete_store().unwrap();
    cluster.nats.start_again().await.unwrap();

    let path = format!("/v1/turns/{}?min_position={position}", said.turn_id());
    let turn = ann.get(&path).await.expect(200);
    assert_eq!(turn.json.pointer("/content"), Some(&Value::Null));
    let end = found("the stream ends", Duration::from_secs(10), async || {
        let transcript = Transcript::of(ann.watch(&said.turn_id(), None).await).await;
        transcript.end().map(|end| end.name.clone())
    })
    .await;
    assert_eq!(end, "turn.completed");
}
