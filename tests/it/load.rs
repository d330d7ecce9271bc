//! Many turns at once, over two API nodes and three workers; then every invariant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tests::invariants;
use tests::{Cluster, Transcript};

use crate::support::BINARY;

const SESSIONS: usize = 20;
const TURNS_OF_A_SESSION: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_turns_are_each_answered_once_and_by_all_workers() {
    let cluster = Cluster::builder(BINARY)
        .node("a", "api,projector,relay")
        .node("b", "api,projector,relay")
        .node("worker-1", "worker")
        .node("worker-2", "worker")
        .node("worker-3", "worker")
        .start()
        .await;
    let talks = (0..SESSIONS).map(|number| talk(&cluster, number));
    let talks: Vec<_> = stream::iter(talks).buffer_unordered(SESSIONS).collect().await;
    let (turns, texts): (Vec<_>, Vec<_>) = talks.into_iter().flatten().unzip();
    assert_eq!(turns.len(), SESSIONS * TURNS_OF_A_SESSION);

    let pool = cluster.pool().await;
    let ends = invariants::check(&pool).await;
    invariants::acknowledged_turns_stand(&pool, &turns).await;
    invariants::nothing_is_parked(&pool).await;
    assert_eq!(ends.len(), turns.len());
    let mut by_worker: HashMap<&str, usize> = HashMap::new();
    for (turn, text) in turns.iter().zip(&texts) {
        let end = &ends[&turn.id];
        assert_eq!((end.event.as_str(), end.attempt), ("TurnCompleted", 1));
        assert_eq!(end.text.as_ref(), Some(text));
        *by_worker.entry(&end.workers[0]).or_default() += 1;
    }
    assert_eq!(cluster.provider.count(), turns.len() as u64, "one call a turn");
    assert_eq!(by_worker.len(), 3, "{by_worker:?}");
    assert!(by_worker.values().all(|turns| *turns >= 20), "{by_worker:?}");
    invariants::rebuild_changes_nothing(&cluster, &pool).await;
}

#[tokio::test]
async fn a_turn_after_a_quiet_time_starts_at_once() {
    let cluster = Cluster::builder(BINARY).node("all", "api,worker,projector,relay").start().await;
    let ann = cluster.client("all", "acme", "ann");
    let session = ann.create_session().await;
    ann.say(&session, "before the pause").await.completed();
    // Longer than any sign of life between the parts, shorter than any of their deadlines.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let started = Instant::now();
    ann.say(&session, "after the pause").await.completed();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// A conversation whose turns go to either node, and what each was answered.
async fn talk(cluster: &Cluster, number: usize) -> Vec<(tests::client::Turn, String)> {
    let user = format!("user-{number}");
    let nodes = [cluster.client("a", "acme", &user), cluster.client("b", "acme", &user)];
    let session = nodes[0].create_session().await;
    let mut talk = Vec::new();
    for turn in 0..TURNS_OF_A_SESSION {
        let client = &nodes[turn % 2];
        let text = format!("talk {number}/{turn} [[tokens=12 pause=8]]");
        let sent = client.send_message(&session, &text).await;
        let watched = &nodes[(turn / 2) % 2];
        let transcript = Transcript::of(watched.watch(&sent.id, None).await).await;
        assert_eq!(transcript.text(), transcript.message_text());
        let calls = cluster.provider.calls(&text);
        assert_eq!(calls.len(), 1);
        assert_eq!(transcript.text(), calls[0].text);
        assert_eq!(calls[0].prompt().len(), 2 * turn + 1, "the whole history was shown");
        talk.push((sent, transcript.text().to_owned()));
    }
    talk
}
