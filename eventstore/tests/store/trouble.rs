//! A database in trouble: full, read-only, locked, silent. Whoever asks is told in time, and told
//! the truth about what was written.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore::{EventStore, PoolOptions, StoreError, Verdict, connect, is_last_page, migrate_up};
use futures::future::join_all;
use local::{DATABASE, Postgres, PostgresOptions, TemporaryFolder};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};

use crate::checks::{assert_in_order, assert_stands, whole_log};
use crate::proxy::Proxy;
use crate::support::{
    APPEND_LOCK, Hold, command, database, eventually, pool, raw, remembered, start, store, stream,
};

/// What an append may take, however bad things are.
const BOUND: Duration = Duration::from_secs(15);

/// A proxy before the database at `url`, and the URL that leads through it.
async fn proxied(url: &str) -> (Proxy, String) {
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::before(port).await;
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.address.port()));
    (proxy, through)
}

/// Runs `statements` past all pools.
async fn sql(url: &str, statements: &str) {
    sqlx::raw_sql(statements).execute(&mut raw(url).await).await.unwrap();
}

/// Has every insert into `events` fail with `code`.
async fn refuse_with(url: &str, code: &str) {
    let trigger = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END$$;
         CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
    );
    sql(url, &trigger).await;
}

#[tokio::test]
async fn lasting_trouble_is_told_of_in_time_and_truly() {
    // All at once, for each takes as long as an append is patient.
    tokio::join!(refused_writes(), a_lock_that_is_held(), lost_replies(), no_free_connection());
}

const OWN_TROUBLE: &str = "a server in trouble of its own";

/// The server says that it can't write: short trouble is outlasted, and what is told of long
/// trouble leaves nothing.
async fn refused_writes() {
    let full_disk = async || {
        let url = database().await;
        refuse_with(&url, "53100").await;
        ("a full disk", url)
    };
    let failing_disk = async || {
        let url = database().await;
        refuse_with(&url, "58030").await;
        ("a failing disk", url)
    };
    let internal_error = async || {
        let url = database().await;
        refuse_with(&url, "XX000").await;
        (OWN_TROUBLE, url)
    };
    let read_only = async || {
        let url = database().await;
        let set = "DO $$BEGIN EXECUTE format(
                   'ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
                   END$$";
        sql(&url, set).await;
        ("a read-only server", url)
    };
    let cases =
        [full_disk().await, failing_disk().await, internal_error().await, read_only().await];
    let tried = cases.map(async |(what, url)| {
        let store = store(&url);
        let began = Instant::now();
        let error = store.append(command(vec![stream("a", 0, 1)])).await.unwrap_err();
        assert!(began.elapsed() < BOUND, "{what}");
        // The database said that it did nothing, so there is no doubt; unless it may have crashed.
        let doubted = matches!(error, StoreError::InDoubt);
        assert!(error.is_unavailable() && doubted == (what == OWN_TROUBLE), "{what}: {error:?}");
        assert_eq!(store.head().await.unwrap(), 0, "{what}");
        url
    });
    let [full, ..] = <[String; 4]>::try_from(join_all(tried).await).unwrap();
    let store = store(&full);
    let append = command(vec![stream("a", 0, 2)]);
    let task = start(&store, append.clone()).await;
    eventually("the append is refused at first", async || !task.is_finished()).await;
    sql(&full, "DROP TRIGGER refuse ON events").await;
    assert!(matches!(task.await.unwrap(), Ok(Verdict::Appended { first: 1, last: 2 })));
}

/// Whoever holds the lock and does nothing holds up appends, for seconds only.
async fn a_lock_that_is_held() {
    let url = database().await;
    let store = store(&url);
    let hold = Hold::take(&url).await;
    let appends: Vec<_> = (0..50).map(|n| command(vec![stream(&n.to_string(), 0, 1)])).collect();
    let began = Instant::now();
    let results = join_all(appends.iter().map(|append| store.append(append.clone()))).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    for result in results {
        assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
    }
    assert_eq!(store.head().await.unwrap(), 0, "reading needs no lock");
    hold.release().await;
    let again = store.append(appends[0].clone()).await.unwrap();
    assert!(matches!(again, Verdict::Appended { first: 1, last: 1 }), "{again:?}");
    assert_in_order(&whole_log(&store).await);
}

/// An append whose replies are all lost is in doubt; the same again tells.
async fn lost_replies() {
    let url = database().await;
    let (proxy, through) = proxied(&url).await;
    let store = EventStore::new(pool(&through, 2));
    store.append(command(vec![stream("a", 0, 1)])).await.unwrap();
    let append = remembered("c", "body", vec![stream("b", 0, 2)]);
    proxy.lose_reply_to(&append.streams[0].events[0].payload);
    let (lost, ()) = tokio::join!(store.append(append.clone()), async {
        eventually("the reply is lost", async || proxy.has_lost_it()).await;
        proxy.fall_silent();
    });
    assert!(matches!(lost, Err(StoreError::InDoubt)), "{lost:?}");
    proxy.let_new_ones_through();
    match store.append(append.clone()).await.unwrap() {
        Verdict::Duplicate { first: 2, last: 3, outcome: Some(_) } => {}
        other => panic!("{other:?}"),
    }
    let log = whole_log(&store).await;
    assert_eq!(log.len(), 3);
    assert_stands(&log, &append, 2, 3);
}

#[tokio::test]
async fn a_transaction_of_ours_that_stands_still_is_ended_by_the_server() {
    let url = database().await;
    let options =
        PoolOptions { statement_timeout: Duration::from_secs(1), ..PoolOptions::default() };
    let ours = connect(&url, &options).unwrap();
    let mut lease = ours.acquire().await.unwrap();
    let take = format!("BEGIN; SELECT pg_advisory_xact_lock({APPEND_LOCK})");
    sqlx::raw_sql(&take).execute(lease.connection().unwrap()).await.unwrap();
    let append = store(&url).append(command(vec![stream("a", 0, 1)])).await.unwrap();
    assert!(matches!(append, Verdict::Appended { first: 1, last: 1 }), "{append:?}");
    // And one whose process has vanished.
    for (setting, value) in [("tcp_keepalives_idle", "5"), ("tcp_user_timeout", "10000")] {
        let shown: String =
            sqlx::query_scalar(&format!("SHOW {setting}")).fetch_one(&ours).await.unwrap();
        assert_eq!(shown, value, "{setting}");
    }
}

#[tokio::test]
async fn a_pool_gets_rid_of_connections_that_fell_silent() {
    let url = database().await;
    let (proxy, through) = proxied(&url).await;
    let store = EventStore::new(pool(&through, 3));
    join_all((0..3).map(|_| store.head())).await;
    // Some are in the middle of a question, and some of being given back: all are lost.
    let asked = AtomicU32::new(0);
    let busy = (0..3).map(|_| async {
        loop {
            match store.head().await {
                Ok(_) => drop(asked.fetch_add(1, Ordering::Relaxed)),
                Err(error) => return error,
            }
        }
    });
    let busy = async { join_all(busy).await };
    let (errors, ()) = tokio::join!(timeout(BOUND, busy), async {
        eventually("many have asked", async || asked.load(Ordering::Relaxed) > 100).await;
        proxy.fall_silent();
    });
    for error in errors.expect("everybody is told in time") {
        assert!(error.is_unavailable(), "{error:?}");
    }
    // Callers that go away leave their connections as they are.
    for _ in 0..6 {
        drop(timeout(Duration::from_millis(50), store.head()).await);
    }
    let before = proxy.connections();
    proxy.let_new_ones_through();
    let all = timeout(Duration::from_secs(10), async {
        join_all((0..3).map(|_| async { while store.head().await.is_err() {} })).await;
    });
    all.await.expect("new connections take the place of the silent ones");
    assert!(proxy.connections() > before);
    let began = Instant::now();
    join_all((0..30).map(|_| async { store.head().await.unwrap() })).await;
    assert!(began.elapsed() < Duration::from_secs(3), "all places are there again");
    store.append(command(vec![stream("a", 0, 1)])).await.unwrap();
}

#[tokio::test]
async fn pages_of_large_events_are_short() {
    let url = database().await;
    let store = store(&url);
    let words: Vec<_> = (0..100_000).map(|_| rand::random::<u64>().to_string()).collect();
    let text = words.concat();
    for number in 0..20 {
        let mut append = command(vec![stream("a", number, 1)]);
        let payload = serde_json::json!({ "Noted": { "text": text } }).to_string();
        append.streams[0].events[0].payload = payload.into();
        store.append(append).await.unwrap();
    }
    let mut all = Vec::new();
    loop {
        let position = all.last().map_or(0, |event: &eventstore::RecordedEvent| event.position);
        let page = store.read_after(position, 1000).await.unwrap();
        let bytes: usize = page.iter().map(|event| event.payload.get().len()).sum();
        assert!(bytes < 20 << 20, "{bytes}");
        let last = is_last_page(&page, 1000);
        assert!(last || !page.is_empty());
        all.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(all.len(), 20);
    assert_in_order(&all);
    let page = store.read_stream(crate::support::KIND, "a", 0, 1000).await.unwrap();
    assert!(page.len() < 20 && !is_last_page(&page, 1000));
}

/// Others have all connections of the server.
async fn no_free_connection() {
    let folder = TemporaryFolder::new().unwrap();
    let options = PostgresOptions::temporary(folder.path()).setting("max_connections", "10");
    let options = options.setting("superuser_reserved_connections", "0");
    let postgres = Postgres::start(options).await.unwrap();
    let url = postgres.url(DATABASE);
    let prepared = pool(&url, 1);
    migrate_up(&prepared).await.unwrap();
    prepared.close().await;
    let mut others = Vec::new();
    eventually("all connections are taken", async || {
        let connection = PgConnection::connect(&url).await;
        let full = connection.as_ref().is_err_and(|error| {
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref()
                == Some("53300")
        });
        others.extend(connection.ok());
        full
    })
    .await;
    let store = store(&url);
    let append = command(vec![stream("a", 0, 1)]);
    let (began, patient) = (Instant::now(), start(&store, append.clone()).await);
    let (head, refused) =
        tokio::join!(store.head(), store.append(command(vec![stream("b", 0, 1)])));
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    for error in [head.unwrap_err(), refused.unwrap_err(), patient.await.unwrap().unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    drop(others);
    let again = store.append(append).await.unwrap();
    assert!(matches!(again, Verdict::Appended { first: 1, last: 1 }), "{again:?}");
}
