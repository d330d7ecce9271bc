//! Appends that carry several commands, as those on one hot stream do.

use eventstore::{
    AppendCommand, EventStore, NewEvent, Position, StoreError, StreamAppend, Verdict,
};
use futures::future::{join_all, try_join_all};

use crate::checks::{assert_in_order, assert_stands, positions, whole_log};
use crate::proxy::Proxy;
use crate::support::{
    Hold, command, database, pool, raw, record, remembered, start, store, stream, until_waiting,
};

const SHARED: &str = "shared";

/// Commands named `ids`, each with `own` events on a stream of its own (named after it) and one
/// on the shared stream, which is at `version`.
fn group(ids: &[String], own: usize, version: i64) -> AppendCommand {
    let mut streams: Vec<StreamAppend> = ids.iter().map(|id| stream(id, 0, own)).collect();
    streams.push(stream(SHARED, version, ids.len()));
    let records = ids.iter().enumerate();
    let records = records.map(|(n, id)| record(id, id, n * own, ids.len() * own + n)).collect();
    AppendCommand { records, ..command(streams) }
}

fn names(prefix: &str) -> Vec<String> {
    ["a", "b", "c"].iter().map(|name| format!("{prefix}{name}")).collect()
}

async fn span(store: &EventStore, id: &str) -> Option<(Position, Position)> {
    let found = store.find_command("acme", "ann", id).await.unwrap();
    found.map(|found| (found.first_position, found.last_position))
}

#[tokio::test]
async fn each_command_of_a_group_is_remembered_with_its_own_positions() {
    let store = store(&database().await);
    store.append(command(vec![stream(SHARED, 0, 4)])).await.unwrap();
    let ids = names("");
    let append = group(&ids, 2, 4);
    match store.append(append.clone()).await.unwrap() {
        Verdict::Appended { first: 5, last: 13 } => {}
        other => panic!("{other:?}"),
    }
    let log = whole_log(&store).await;
    assert_in_order(&log);
    assert_stands(&log, &append, 5, 13);
    assert_eq!(span(&store, "a").await, Some((5, 11)));
    assert_eq!(span(&store, "b").await, Some((7, 12)));
    assert_eq!(span(&store, "c").await, Some((9, 13)));

    // A repeat of one of them answers as that one did.
    let again = remembered("b", "b", vec![stream(SHARED, 7, 1)]);
    match store.append(again).await.unwrap() {
        Verdict::Duplicate { first: 7, last: 12, outcome: Some(outcome) } => {
            assert_eq!(outcome.get(), append.records[1].outcome);
        }
        other => panic!("{other:?}"),
    }
    let other = remembered("c", "another body", vec![stream(SHARED, 7, 1)]);
    assert!(matches!(store.append(other).await.unwrap(), Verdict::Reused));
}

#[tokio::test]
async fn a_stream_that_has_moved_on_refuses_the_whole_group() {
    let store = store(&database().await);
    store.append(command(vec![stream("b", 0, 1), stream(SHARED, 0, 2)])).await.unwrap();
    // One stale stream of one command; then the shared one.
    for (ids, version) in [(names(""), 2), (names("new "), 1)] {
        let append = group(&ids, 1, version);
        assert!(matches!(store.append(append.clone()).await.unwrap(), Verdict::Conflict));
        assert!(positions(&whole_log(&store).await, &append).is_empty());
        for id in ids {
            assert_eq!(span(&store, &id).await, None);
        }
    }
    assert_eq!(store.head().await.unwrap(), 3);
}

#[tokio::test]
async fn a_known_command_refuses_the_whole_group() {
    let store = store(&database().await);
    store.append(remembered("b", "b", vec![stream("elsewhere", 0, 1)])).await.unwrap();
    let ids = names("");
    // Known with the same request, and with another one.
    let same = group(&ids, 1, 0);
    let mut reused = same.clone();
    reused.records[1].request_hash = b"another".to_vec();
    for append in [same, reused] {
        assert!(matches!(store.append(append).await.unwrap(), Verdict::Conflict));
    }
    assert_eq!(store.head().await.unwrap(), 1);
    assert_eq!(span(&store, "a").await, None);
    assert_eq!(span(&store, "b").await, Some((1, 1)));
}

#[tokio::test]
async fn a_group_that_names_a_command_twice_hurts_nobody_else() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let first = start(&store, command(vec![stream("first", 0, 1)])).await;
    until_waiting(&mut raw(&url).await, 1).await;
    let mut twice = group(&names(""), 1, 0);
    twice.records[2].command_id = "a".to_owned();
    let bad = start(&store, twice).await;
    let good = start(&store, remembered("z", "z", vec![stream("z", 0, 1)])).await;
    hold.release().await;
    first.await.unwrap().unwrap();
    let error = bad.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
    assert!(matches!(good.await.unwrap(), Ok(Verdict::Appended { first: 2, last: 2 })));
    assert_eq!(store.head().await.unwrap(), 2);
    assert_eq!(span(&store, "a").await, None);
    assert_eq!(span(&store, "b").await, None);
}

#[tokio::test]
async fn a_record_of_events_that_are_not_there_is_refused() {
    let store = store(&database().await);
    for (first, last) in [(0, 2), (1, 0)] {
        let records = vec![record("a", "a", first, last)];
        let append = AppendCommand { records, ..command(vec![stream("a", 0, 2)]) };
        let error = store.append(append).await.unwrap_err();
        assert!(matches!(error, StoreError::Malformed(_)), "{error:?}");
    }
    assert_eq!(store.head().await.unwrap(), 0);
}

#[tokio::test]
async fn a_group_whose_reply_is_lost_counts_once() {
    let url = database().await;
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::before(port).await;
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.address.port()));
    let store = EventStore::new(pool(&through, 1));
    // The statement is prepared by now, so the next reply is that of its execution.
    store.append(command(vec![stream(SHARED, 0, 1)])).await.unwrap();
    let append = group(&names(""), 2, 1);
    proxy.lose_reply_to(&append.streams[3].events[2].payload);
    match store.append(append.clone()).await.unwrap() {
        Verdict::Duplicate { first: 2, last: 10, outcome: None } => {}
        other => panic!("{other:?}"),
    }
    assert!(proxy.has_lost_it());
    let log = whole_log(&store).await;
    assert_eq!(log.len(), 10);
    assert_stands(&log, &append, 2, 10);
    assert_eq!(span(&store, "a").await, Some((2, 8)));

    // Part of what stands is not the group.
    let mut altered = append;
    altered.streams[0].events[1] = stream("a", 0, 1).events.remove(0);
    assert!(matches!(store.append(altered).await.unwrap(), Verdict::Conflict));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_several_processes_share_a_stream() {
    const GROUPS: usize = 15;
    let url = database().await;
    let writers = (0..3).map(|writer| {
        let store = store(&url);
        tokio::spawn(async move {
            let mut done = Vec::new();
            for number in 0..GROUPS {
                done.push(
                    append_until_it_fits(&store, &names(&format!("{writer}-{number}-"))).await,
                );
            }
            done
        })
    });
    let done = try_join_all(writers).await.unwrap().into_iter().flatten();
    let store = store(&url);
    let log = whole_log(&store).await;
    assert_in_order(&log);
    assert_eq!(log.len(), 3 * GROUPS * 9);
    for (append, first, last) in done {
        assert_stands(&log, &append, first, last);
        for (n, record) in (0..).zip(&append.records) {
            let expected = (first + 2 * n, first + 6 + n);
            assert_eq!(span(&store, &record.command_id).await, Some(expected));
        }
    }
}

/// Sends a group until the shared stream is where it was thought to be.
async fn append_until_it_fits(
    store: &EventStore,
    ids: &[String],
) -> (AppendCommand, Position, Position) {
    let newest = "SELECT coalesce(max(sequence), 0) FROM events WHERE aggregate_id = $1";
    loop {
        let read = sqlx::query_scalar(newest).bind(SHARED).fetch_one(store.pool());
        let append = group(ids, 2, read.await.unwrap());
        match store.append(append.clone()).await.unwrap() {
            Verdict::Appended { first, last } => return (append, first, last),
            Verdict::Conflict => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_batch_has_an_end_in_bytes_too() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let first = start(&store, command(vec![stream("first", 0, 1)])).await;
    until_waiting(&mut raw(&url).await, 1).await;
    // Three that fit in two calls, one that is too big for any, and a small one behind it.
    let mut tasks = Vec::new();
    for (n, megabytes) in [3, 3, 3, 9, 0].into_iter().enumerate() {
        let mut append = command(vec![stream(&n.to_string(), 0, 1)]);
        append.streams[0].events.push(of_size(megabytes << 20));
        tasks.push(start(&store, append).await);
    }
    hold.release().await;
    first.await.unwrap().unwrap();
    for task in join_all(tasks).await {
        assert!(matches!(task.unwrap(), Ok(Verdict::Appended { .. })));
    }
    // Rows that one transaction wrote have the same xmin.
    let calls = "SELECT count(*) FROM events GROUP BY xmin ORDER BY min(position)";
    let calls: Vec<i64> = sqlx::query_scalar(calls).fetch_all(store.pool()).await.unwrap();
    assert_eq!(calls, [1, 4, 2, 2, 2]);
}

fn of_size(bytes: usize) -> NewEvent {
    crate::support::event(&"x".repeat(bytes))
}
