//! Snapshots: believed only when nothing speaks against them.

use eventstore::{EventStore, Snapshot};
use serde::{Deserialize, Serialize};

use crate::support::{KIND, command, database, store, stream};

const SHAPE: &str = "account 1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    balance: i64,
    note: String,
}

fn state(balance: i64) -> State {
    State { balance, note: "Grüße \"and\" \\ \u{0} 🙂".to_owned() }
}

async fn save(store: &EventStore, version: i64, shape: &str, state: &State) {
    let json = serde_json::to_string(state).unwrap();
    store.save_snapshot(KIND, "a", version, shape, &json).await.unwrap();
}

async fn load(store: &EventStore, shape: &str) -> Option<Snapshot<State>> {
    store.load_snapshot(KIND, "a", shape).await.unwrap()
}

async fn run(store: &EventStore, statement: &str) {
    sqlx::raw_sql(statement).execute(store.pool()).await.unwrap();
}

async fn count(store: &EventStore) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM snapshots");
    count.fetch_one(store.pool()).await.unwrap()
}

/// A store with ten events in the stream "a".
async fn with_events() -> EventStore {
    let store = store(&database().await);
    store.append(command(vec![stream("a", 0, 10), stream("b", 0, 10)])).await.unwrap();
    store
}

#[tokio::test]
async fn a_snapshot_comes_back_as_it_was() {
    let store = with_events().await;
    assert_eq!(load(&store, SHAPE).await, None);
    save(&store, 5, SHAPE, &state(1)).await;
    assert_eq!(load(&store, SHAPE).await, Some(Snapshot { version: 5, state: state(1) }));
    let other: Option<Snapshot<State>> = store.load_snapshot(KIND, "b", SHAPE).await.unwrap();
    assert_eq!(other, None);
    save(&store, 10, SHAPE, &state(2)).await;
    assert_eq!(load(&store, SHAPE).await, Some(Snapshot { version: 10, state: state(2) }));
}

#[tokio::test]
async fn an_older_version_never_replaces_a_newer_one() {
    let store = with_events().await;
    save(&store, 7, SHAPE, &state(7)).await;
    save(&store, 6, SHAPE, &state(6)).await;
    save(&store, 7, SHAPE, &state(8)).await;
    assert_eq!(load(&store, SHAPE).await, Some(Snapshot { version: 7, state: state(7) }));
}

#[tokio::test]
async fn another_shape_is_left_alone_until_it_is_replaced() {
    let store = with_events().await;
    save(&store, 7, SHAPE, &state(7)).await;
    assert_eq!(load(&store, "account 2").await, None);
    assert_eq!(load(&store, SHAPE).await.unwrap().version, 7);
    save(&store, 6, "account 2", &state(6)).await;
    assert_eq!(load(&store, SHAPE).await, None);
    assert_eq!(load(&store, "account 2").await.unwrap().version, 6);
}

#[tokio::test]
async fn what_was_tampered_with_is_not_believed() {
    let store = with_events().await;
    for change in [
        r#"UPDATE snapshots SET state = '{"balance":1000,"note":""}'"#,
        "UPDATE snapshots SET state = (state::text || ' ')::json",
        "UPDATE snapshots SET hash = sha256(hash)",
        "UPDATE snapshots s SET version = 6, event_id = e.event_id FROM events e
         WHERE e.aggregate_id = 'a' AND e.sequence = 6",
        "UPDATE snapshots s SET aggregate_id = 'a', event_id = e.event_id FROM events e
         WHERE e.aggregate_id = 'a' AND e.sequence = s.version",
    ] {
        // The last one is the snapshot of another aggregate.
        let id = if change.contains("SET aggregate_id") { "b" } else { "a" };
        let json = serde_json::to_string(&state(5)).unwrap();
        store.save_snapshot(KIND, id, 5, SHAPE, &json).await.unwrap();
        run(&store, change).await;
        assert_eq!(load(&store, SHAPE).await, None, "{change}");
        assert_eq!(count(&store).await, 0, "{change}");
    }
    save(&store, 5, SHAPE, &state(5)).await;
    assert!(load(&store, SHAPE).await.is_some());
}

#[tokio::test]
async fn a_state_that_cannot_be_decoded_is_dropped() {
    let store = with_events().await;
    store.save_snapshot(KIND, "a", 5, SHAPE, r#"{"balance":"much"}"#).await.unwrap();
    assert_eq!(load(&store, SHAPE).await, None);
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_snapshot_beyond_the_end_of_its_stream_is_dropped() {
    let store = with_events().await;
    save(&store, 11, SHAPE, &state(11)).await;
    assert_eq!(count(&store).await, 0, "nothing is kept for an event that isn't there");

    save(&store, 9, SHAPE, &state(9)).await;
    lose_events(&store).await;
    assert_eq!(load(&store, SHAPE).await, None);
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_snapshot_of_events_that_went_another_way_is_dropped() {
    let store = with_events().await;
    save(&store, 9, SHAPE, &state(9)).await;
    lose_events(&store).await;
    store.append(command(vec![stream("a", 4, 6)])).await.unwrap();
    assert_eq!(load(&store, SHAPE).await, None);
    save(&store, 5, SHAPE, &state(5)).await;
    assert_eq!(load(&store, SHAPE).await.unwrap().version, 5);
}

/// What a backup that is put back does: the log ends after the fourth event.
async fn lose_events(store: &EventStore) {
    run(
        store,
        "ALTER TABLE events DISABLE TRIGGER events_append_only;
         DELETE FROM events WHERE position > 4;
         ALTER TABLE events ENABLE TRIGGER events_append_only",
    )
    .await;
}
