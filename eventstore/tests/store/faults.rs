//! Appends while something goes wrong: each ends as if nothing had, or leaves nothing.

use std::time::Duration;

use eventstore::{EventStore, PoolOptions, StoreError, Verdict, connect, migrate_up};
use futures::future::join_all;
use local::{DATABASE, Postgres, PostgresOptions, TemporaryFolder};
use tokio::time::timeout;

use crate::checks::{assert_in_order, assert_stands, positions, whole_log};
use crate::proxy::Proxy;
use crate::support::{
    Hold, command, database, eventually, pool, raw, remembered, start, store, stream, until_waiting,
};

#[tokio::test]
async fn what_is_malformed_hurts_nobody_else_in_its_batch() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    // The first one goes alone and waits for the lock; the others gather behind it.
    let first = start(&store, command(vec![stream("first", 0, 1)])).await;
    until_waiting(&mut raw(&url).await, 1).await;
    let mut tasks = Vec::new();
    for number in 0..20 {
        let mut append =
            remembered(&format!("c-{number}"), "b", vec![stream(&number.to_string(), 0, 2)]);
        match number {
            5 => append.streams[0].events[1].payload = "{not json".into(),
            11 => append.records[0].outcome = "nor this".to_owned(),
            _ => {}
        }
        tasks.push((number, append.clone(), start(&store, append).await));
    }
    hold.release().await;
    assert!(matches!(first.await.unwrap(), Ok(Verdict::Appended { first: 1, last: 1 })));
    let mut results = Vec::new();
    for (number, append, task) in tasks {
        results.push((number, append, task.await.unwrap()));
    }

    let log = whole_log(&store).await;
    assert_in_order(&log);
    assert_eq!(log.len(), 1 + 18 * 2);
    for (number, append, result) in results {
        match (number, result) {
            (5 | 11, Err(StoreError::Database { .. })) => {
                assert!(positions(&log, &append).is_empty());
                let id = &append.records[0].command_id;
                assert!(store.find_command("acme", "ann", id).await.unwrap().is_none());
            }
            (_, Ok(Verdict::Appended { first, last })) => assert_stands(&log, &append, first, last),
            (_, other) => panic!("append {number}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn waiting_appends_go_in_one_batch_but_one_of_a_stream_after_the_other() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let first = start(&store, command(vec![stream("first", 0, 1)])).await;
    until_waiting(&mut raw(&url).await, 1).await;
    // All at version 0 of the same three streams: one of each can win.
    let mut rivals = Vec::new();
    for number in 0..12 {
        let id = ["a", "b", "c"][number % 3];
        rivals.push(start(&store, command(vec![stream(id, 0, 1)])).await);
    }
    // The same command twice in the queue: the second answers as the first.
    let mut twins = Vec::new();
    for _ in 0..2 {
        twins.push(start(&store, remembered("twin", "body", vec![stream("t", 0, 1)])).await);
    }
    hold.release().await;
    first.await.unwrap().unwrap();
    let verdicts = join_all(rivals).await;
    let won = verdicts.iter().filter(|one| matches!(one, Ok(Ok(Verdict::Appended { .. })))).count();
    let lost = verdicts.iter().filter(|one| matches!(one, Ok(Ok(Verdict::Conflict)))).count();
    assert_eq!((won, lost), (3, 9));
    let twins = join_all(twins).await;
    assert!(matches!(twins[0], Ok(Ok(Verdict::Appended { .. }))), "{twins:?}");
    assert!(matches!(twins[1], Ok(Ok(Verdict::Duplicate { outcome: Some(_), .. }))), "{twins:?}");
    assert_in_order(&whole_log(&store).await);
}

#[tokio::test]
async fn an_append_whose_caller_goes_away_happens_all_the_same() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let append = command(vec![stream("a", 0, 2)]);
    let left = timeout(Duration::from_millis(50), store.append(append.clone())).await;
    assert!(left.is_err(), "the append waits");
    hold.release().await;
    store.append(command(vec![stream("b", 0, 1)])).await.unwrap();
    assert_stands(&whole_log(&store).await, &append, 1, 2);
}

#[tokio::test]
async fn a_backend_killed_in_the_middle_of_an_append_is_no_harm() {
    let url = database().await;
    let store = store(&url);
    let mut watcher = raw(&url).await;
    let hold = Hold::take(&url).await;
    let append = command(vec![stream("a", 0, 1), stream("b", 0, 1)]);
    let task = start(&store, append.clone()).await;
    for _ in 0..3 {
        until_waiting(&mut watcher, 1).await;
        let killed: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'advisory'",
        )
        .fetch_all(&mut watcher)
        .await
        .unwrap();
        assert_eq!(killed, [true]);
        until_waiting(&mut watcher, 0).await;
    }
    hold.release().await;
    assert!(matches!(task.await.unwrap(), Ok(Verdict::Appended { first: 1, last: 2 })));
    let log = whole_log(&store).await;
    assert_eq!(log.len(), 2);
    assert_stands(&log, &append, 1, 2);
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_counts_once() {
    let url = database().await;
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::before(port).await;
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.address.port()));
    let store = EventStore::new(pool(&through, 1));
    // The statement is prepared by now, so the next reply is that of its execution.
    store.append(command(vec![stream("a", 0, 1)])).await.unwrap();
    let plain = command(vec![stream("a", 1, 2)]);
    proxy.lose_reply_to(&plain.streams[0].events[0].payload);
    match store.append(plain.clone()).await.unwrap() {
        Verdict::Duplicate { first: 2, last: 3, outcome: None } => {}
        other => panic!("{other:?}"),
    }
    assert!(proxy.has_lost_it());
    store.append(command(vec![stream("b", 0, 1)])).await.unwrap();
    let with_id = remembered("c", "body", vec![stream("a", 3, 1)]);
    proxy.lose_reply_to(&with_id.streams[0].events[0].payload);
    match store.append(with_id.clone()).await.unwrap() {
        Verdict::Duplicate { first: 5, last: 5, outcome: Some(_) } => {}
        other => panic!("{other:?}"),
    }
    assert!(proxy.has_lost_it());
    let log = whole_log(&store).await;
    assert_eq!(log.len(), 5);
    assert_stands(&log, &plain, 2, 3);
    assert_stands(&log, &with_id, 5, 5);
}

#[tokio::test]
async fn appends_outlast_a_crash_of_postgres() {
    let folder = TemporaryFolder::new().unwrap();
    let mut postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    let pool = connect(&postgres.url(DATABASE), &PoolOptions::default()).unwrap();
    migrate_up(&pool).await.unwrap();
    let store = EventStore::new(pool);
    let before = command(vec![stream("a", 0, 3)]);
    store.append(before.clone()).await.unwrap();

    postgres.kill().await.unwrap();
    let meanwhile: Vec<_> = (0..5).map(|n| command(vec![stream(&format!("m{n}"), 0, 1)])).collect();
    let mut tasks = Vec::new();
    for append in &meanwhile {
        tasks.push(start(&store, append.clone()).await);
    }
    postgres.start_again().await.unwrap();
    let mut spans = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(Verdict::Appended { first, last }) => spans.push((first, last)),
            other => panic!("{other:?}"),
        }
    }
    let log = whole_log(&store).await;
    assert_in_order(&log);
    assert_stands(&log, &before, 1, 3);
    for (append, (first, last)) in meanwhile.iter().zip(spans) {
        assert_stands(&log, append, first, last);
    }
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn an_append_that_finds_no_database_says_so_in_time() {
    let nowhere = EventStore::new(pool("postgres://nobody@127.0.0.1:9/none", 1));
    let result = timeout(Duration::from_secs(20), nowhere.append(command(vec![stream("a", 0, 1)])));
    let error = result.await.expect("an answer in time").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.is_unavailable());
}

#[tokio::test]
async fn closing_appends_what_waits_and_refuses_what_comes_later() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let mut waiting = Vec::new();
    for number in 0..3 {
        waiting.push(start(&store, command(vec![stream(&number.to_string(), 0, 1)])).await);
    }
    until_waiting(&mut raw(&url).await, 1).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    hold.release().await;
    closing.await.unwrap();
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Ok(Verdict::Appended { .. })));
    }
    let late = store.append(command(vec![stream("late", 0, 1)])).await;
    assert!(matches!(late, Err(StoreError::Closing)), "{late:?}");
    eventually("all three stand", async || store.head().await.unwrap() == 3).await;
}
