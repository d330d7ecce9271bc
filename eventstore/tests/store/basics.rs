//! One thing at a time: appending, repeating, refusing, reading, migrating.

use eventstore::{MigrationState, Verdict, migrate_down, migrate_up, migrations};

use crate::checks::{assert_in_order, assert_stands, positions, whole_log};
use crate::support::{
    KIND, command, database, empty_database, pool, raw, remembered, store, stream,
};

#[tokio::test]
async fn events_of_several_streams_go_in_together_or_not_at_all() {
    let store = store(&database().await);
    let both = command(vec![stream("a", 0, 2), stream("b", 0, 3)]);
    let Verdict::Appended { first: 1, last: 5 } = store.append(both.clone()).await.unwrap() else {
        panic!("the first append is accepted at positions 1 to 5");
    };
    let stale = command(vec![stream("a", 2, 1), stream("b", 2, 1)]);
    assert!(matches!(store.append(stale.clone()).await.unwrap(), Verdict::Conflict));
    let ahead = command(vec![stream("a", 3, 1)]);
    assert!(matches!(store.append(ahead).await.unwrap(), Verdict::Conflict));

    let log = whole_log(&store).await;
    assert_in_order(&log);
    assert_stands(&log, &both, 1, 5);
    assert!(positions(&log, &stale).is_empty());
    assert_eq!(store.head().await.unwrap(), 5);
    assert_eq!(*store.appended().borrow(), 5);
}

#[tokio::test]
async fn a_repeat_answers_as_the_first_time_and_changes_nothing() {
    let store = store(&database().await);
    let first = remembered("c-1", "body", vec![stream("a", 0, 2)]);
    store.append(first.clone()).await.unwrap();
    store.append(command(vec![stream("a", 2, 1)])).await.unwrap();

    // Decided anew, with other event ids and on a later version.
    let again = remembered("c-1", "body", vec![stream("a", 3, 2)]);
    match store.append(again).await.unwrap() {
        Verdict::Duplicate { first: 1, last: 2, outcome: Some(outcome) } => {
            assert_eq!(outcome.get(), first.records[0].outcome);
        }
        other => panic!("{other:?}"),
    }
    let other_body = remembered("c-1", "another body", vec![stream("a", 3, 1)]);
    assert!(matches!(store.append(other_body).await.unwrap(), Verdict::Reused));
    // Another user may use the same id.
    let mut other_user = remembered("c-1", "another body", vec![stream("b", 0, 1)]);
    other_user.records[0].user_id = "bob".to_owned();
    assert!(matches!(store.append(other_user).await.unwrap(), Verdict::Appended { .. }));

    assert_eq!(store.head().await.unwrap(), 4);
    let found = store.find_command("acme", "ann", "c-1").await.unwrap().unwrap();
    assert_eq!((found.first_position, found.last_position), (1, 2));
    assert_eq!(found.request_hash, b"body");
    assert!(store.find_command("acme", "ann", "c-2").await.unwrap().is_none());
    assert!(store.find_command("other", "ann", "c-1").await.unwrap().is_none());
}

#[tokio::test]
async fn the_very_same_append_is_known_even_without_a_command_id() {
    let store = store(&database().await);
    let append = command(vec![stream("a", 0, 1), stream("b", 0, 2)]);
    store.append(append.clone()).await.unwrap();
    match store.append(append).await.unwrap() {
        Verdict::Duplicate { first: 1, last: 3, outcome: None } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.head().await.unwrap(), 3);
}

#[tokio::test]
async fn a_refused_command_is_not_remembered() {
    let store = store(&database().await);
    store.append(command(vec![stream("a", 0, 1)])).await.unwrap();
    let stale = remembered("c-1", "body", vec![stream("a", 0, 1)]);
    assert!(matches!(store.append(stale).await.unwrap(), Verdict::Conflict));
    let anew = remembered("c-1", "body", vec![stream("a", 1, 1)]);
    assert!(matches!(store.append(anew).await.unwrap(), Verdict::Appended { .. }));
}

#[tokio::test]
async fn streams_and_the_log_are_read_in_pages() {
    let store = store(&database().await);
    store.append(command(vec![stream("a", 0, 5), stream("b", 0, 2)])).await.unwrap();
    let sequences = |events: Vec<eventstore::RecordedEvent>| {
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    let page = store.read_stream(KIND, "a", 2, 2).await.unwrap();
    assert_eq!(sequences(page), [3, 4]);
    let rest = store.read_stream(KIND, "a", 4, 10).await.unwrap();
    assert_eq!(sequences(rest), [5]);
    assert!(store.read_stream(KIND, "none", 0, 10).await.unwrap().is_empty());
    assert!(store.read_stream("other kind", "a", 0, 10).await.unwrap().is_empty());
    let page = store.read_after(4, 2).await.unwrap();
    assert_eq!(page.iter().map(|event| event.position).collect::<Vec<_>>(), [5, 6]);
    assert!(store.read_after(7, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_log_refuses_to_be_changed() {
    let url = database().await;
    let store = store(&url);
    store.append(command(vec![stream("a", 0, 1)])).await.unwrap();
    let mut connection = raw(&url).await;
    for change in [
        "UPDATE events SET payload = '{}'",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 99",
        "TRUNCATE events",
    ] {
        let error = sqlx::raw_sql(change).execute(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{change}: {error}");
    }
    assert_eq!(store.head().await.unwrap(), 1);
}

#[tokio::test]
async fn migrations_go_up_and_down_and_up() {
    let pool = pool(&empty_database().await, 2);
    let states = async || {
        let all = migrations(&pool).await.unwrap();
        all.into_iter().map(|migration| migration.state).collect::<Vec<_>>()
    };
    assert!(states().await.iter().all(|state| *state == MigrationState::Pending));
    migrate_up(&pool).await.unwrap();
    migrate_up(&pool).await.unwrap();
    assert!(states().await.iter().all(|state| *state == MigrationState::Applied));
    let before = schema(&pool).await;
    migrate_down(&pool, 0).await.unwrap();
    assert!(states().await.iter().all(|state| *state == MigrationState::Pending));
    assert_eq!(schema(&pool).await, Vec::<String>::new());
    migrate_up(&pool).await.unwrap();
    assert_eq!(schema(&pool).await, before);
}

#[tokio::test]
async fn the_released_append_function_comes_back_as_it_was() {
    let text = "SELECT pg_get_functiondef('append_events'::regproc)";
    let released = pool(&empty_database().await, 1);
    let migration = include_str!("../../../migrations/0001_log.up.sql");
    sqlx::raw_sql(migration).execute(&released).await.unwrap();
    let released: String = sqlx::query_scalar(text).fetch_one(&released).await.unwrap();

    let pool = pool(&database().await, 1);
    migrate_down(&pool, 3).await.unwrap();
    let restored: String = sqlx::query_scalar(text).fetch_one(&pool).await.unwrap();
    assert_eq!(restored, released);
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let url = empty_database().await;
    let pools: Vec<_> = (0..4).map(|_| pool(&url, 1)).collect();
    let all = pools.iter().map(migrate_up);
    futures::future::try_join_all(all).await.unwrap();
}

/// Tables with their columns, indexes and functions, apart from the list of migrations.
async fn schema(pool: &eventstore::Database) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT table_name || '.' || column_name || ' ' || data_type || coalesce(column_default, '')
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'
         UNION ALL SELECT indexdef FROM pg_indexes
         WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'
         UNION ALL SELECT proname || pronargs FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
