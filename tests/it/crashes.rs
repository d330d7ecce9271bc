//! Processes killed without warning while they stream or work.

use std::time::Duration;

use tests::{Cluster, Transcript, eventually, invariants};

use crate::support::BINARY;

#[tokio::test]
async fn a_killed_api_node_costs_its_clients_nothing() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api")
        .node("b", "api")
        .node("core", "worker,projector,relay")
        .start()
        .await;
    for deltas in [0, 1, 4, 11] {
        let ann = cluster.client("a", "acme", "ann");
        let at_b = ann.at(cluster.base("b"));
        let session = at_b.create_session().await;
        let text = format!("killed after {deltas} [[tokens=30 pause=40]]");
        let mut stream = ann.stream_message(&session, &text).await;
        let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
        let mut transcript = Transcript::default();
        assert!(transcript.read_deltas(&mut stream, deltas).await);
        cluster.node("a").kill();
        // What was on its way still arrives; then the connection breaks.
        transcript.read_on(&mut stream).await;
        assert!(transcript.end().is_none(), "killed before the end");

        let mut resumed = at_b.watch(&turn, transcript.last_id()).await;
        transcript.read_on(&mut resumed).await;
        transcript.assert_ended();
        assert_eq!(transcript.text(), transcript.message_text());
        assert_eq!(transcript.text(), cluster.provider.calls(&text)[0].text);
        let whole = Transcript::of(at_b.watch(&turn, None).await).await;
        assert_eq!(whole.events, transcript.events, "byte for byte");
        cluster.node("a").start();
        cluster.node("a").ready().await;
    }
    assert_eq!(cluster.provider.count(), 4, "nobody was asked twice");
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_its_words_are_taken_back() {
    let mut cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("first", "worker")
        .start()
        .await;
    let ann = cluster.client("a", "acme", "ann");
    let session = ann.create_session().await;
    let text = "loses its worker [[tokens=40 pause=50]]";
    let mut stream = ann.stream_message(&session, text).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 5).await);
    let (turn, seen) = (transcript.turn_id(), transcript.last_id().unwrap().to_owned());
    cluster.node("first").kill();
    cluster.node("first").start();
    transcript.read_on(&mut stream).await;
    transcript.assert_ended();
    let names: Vec<&str> = transcript.events.iter().map(|event| event.name.as_str()).collect();
    assert!(names.contains(&"turn.restarted"), "{names:?}");
    let calls = cluster.provider.calls(text);
    assert_eq!(calls.len(), 2);
    assert_eq!(transcript.text(), calls[1].text);
    assert_eq!(transcript.text(), transcript.message_text());

    // Who comes back with an id of the lost attempt is told to begin anew.
    let mut later = ann.watch(&turn, Some(&seen)).await;
    let first = later.next_real().await.unwrap().unwrap();
    assert_eq!(first.name, "turn.restarted");
    assert_eq!(first.json()["attempt"], 2);
    let pool = cluster.pool().await;
    let ends = invariants::check(&pool).await;
    assert_eq!(ends[&turn].attempt, 2);
    invariants::rebuild_changes_nothing(&cluster, &pool).await;
}

#[tokio::test]
async fn everything_may_be_killed_at_once() {
    let mut cluster =
        Cluster::builder(BINARY).node("all", "api,worker,projector,relay").start().await;
    let ann = cluster.client("all", "acme", "ann");
    let mut turns = Vec::new();
    for number in 0..10 {
        let session = ann.create_session().await;
        turns.push(
            ann.send_message(&session, &format!("survivor {number} [[tokens=5 pause=20]]")).await,
        );
    }
    cluster.node("all").kill();
    cluster.node("all").start();
    cluster.node("all").ready().await;
    let pool = cluster.pool().await;
    invariants::acknowledged_turns_stand(&pool, &turns).await;
    eventually("every turn has ended", Duration::from_secs(60), async || {
        let open = "SELECT count(*) FROM turns WHERE ended_at IS NULL";
        sqlx::query_scalar::<_, i64>(open).fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    let ends = invariants::check(&pool).await;
    assert_eq!(ends.len(), turns.len());
    assert!(ends.values().all(|end| end.event == "TurnCompleted"), "{ends:?}");
}
