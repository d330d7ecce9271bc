//! One Postgres for the whole binary, a database for each test, and appends to try.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore::{
    AppendCommand, CommandRecord, Database, EventStore, NewEvent, PoolOptions, StoreError,
    StreamAppend, Verdict, connect, migrate_up,
};
use local::{Postgres, PostgresOptions, TemporaryFolder};
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The lock under which the append function works.
pub(crate) const APPEND_LOCK: i64 = 7_245_873_190_467;
pub(crate) const KIND: &str = "account";
const TEMPLATE: &str = "migrated";

struct Server {
    postgres: Postgres,
    _folder: TemporaryFolder,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

async fn server() -> &'static Server {
    let start = async || {
        let folder = TemporaryFolder::new().unwrap();
        let options = PostgresOptions::temporary(folder.path()).setting("max_connections", "200");
        let postgres = Postgres::start(options).await.unwrap();
        postgres.create_database(TEMPLATE, None).await.unwrap();
        let pool = connect(&postgres.url(TEMPLATE), &PoolOptions::default()).unwrap();
        migrate_up(&pool).await.unwrap();
        pool.close().await;
        Server { postgres, _folder: folder }
    };
    SERVER.get_or_init(start).await
}

/// The URL of a new, migrated database.
pub(crate) async fn database() -> String {
    let server = server().await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.postgres.create_database(&name, Some(TEMPLATE)).await.unwrap();
    server.postgres.url(&name)
}

/// The URL of a new database without any table.
pub(crate) async fn empty_database() -> String {
    let server = server().await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.postgres.create_database(&name, None).await.unwrap();
    server.postgres.url(&name)
}

/// A pool of `connections` at most.
pub(crate) fn pool(url: &str, connections: u32) -> Database {
    let options = PoolOptions { max_connections: connections, ..PoolOptions::default() };
    connect(url, &options).unwrap()
}

/// A store with a batcher and a pool of its own.
pub(crate) fn store(url: &str) -> EventStore {
    EventStore::new(pool(url, 4))
}

/// A connection that no pool knows of.
pub(crate) async fn raw(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Keeps every append waiting until [`Hold::release`].
pub(crate) struct Hold(PgConnection);

impl Hold {
    pub(crate) async fn take(url: &str) -> Self {
        let mut connection = raw(url).await;
        let lock = "SELECT pg_advisory_lock($1)";
        sqlx::query(lock).bind(APPEND_LOCK).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    pub(crate) async fn release(self) {
        self.0.close().await.unwrap();
    }
}

/// Waits until `count` append calls wait for the lock.
pub(crate) async fn until_waiting(watcher: &mut PgConnection, count: i64) {
    let waiting = "SELECT count(*) FROM pg_locks
                   WHERE locktype = 'advisory' AND NOT granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("appends wait for the lock", async || {
        let found: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *watcher).await.unwrap();
        found == count
    })
    .await;
}

/// Waits until `done` says so, for at most fifteen seconds.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(15), wait).await;
    assert!(in_time.is_ok(), "still waiting: {what}");
}

/// An event with `text` in it.
pub(crate) fn event(text: &str) -> NewEvent {
    let payload = serde_json::json!({ "Noted": { "text": text } });
    NewEvent {
        event_id: new_id(),
        event_type: "Noted",
        event_version: "1.0".to_owned(),
        payload: payload.to_string().into(),
        metadata: r#"{"actor":"test"}"#.into(),
    }
}

pub(crate) fn new_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

/// `count` events for the stream `id` at version `expected`.
pub(crate) fn stream(id: &str, expected: i64, count: usize) -> StreamAppend {
    StreamAppend {
        aggregate_type: KIND,
        aggregate_id: id.to_owned(),
        expected_version: expected,
        events: (0..count).map(|number| event(&format!("{id} {number} ä🙂"))).collect(),
    }
}

/// A command on `streams` that is not remembered.
pub(crate) fn command(streams: Vec<StreamAppend>) -> AppendCommand {
    AppendCommand { tenant_id: "acme".to_owned(), records: Vec::new(), streams }
}

/// The same, remembered as `id` with a hash made of `body`.
pub(crate) fn remembered(id: &str, body: &str, streams: Vec<StreamAppend>) -> AppendCommand {
    let events: usize = streams.iter().map(|stream| stream.events.len()).sum();
    AppendCommand { records: vec![record(id, body, 0, events - 1)], ..command(streams) }
}

/// A record of the events `first` to `last`.
pub(crate) fn record(id: &str, body: &str, first: usize, last: usize) -> CommandRecord {
    CommandRecord {
        user_id: "ann".to_owned(),
        command_id: id.to_owned(),
        request_hash: body.as_bytes().to_vec(),
        outcome: serde_json::json!({ "body": body }).to_string(),
        first,
        last,
    }
}

/// Starts `append` and lets the batcher have it.
pub(crate) async fn start(
    store: &EventStore,
    append: AppendCommand,
) -> JoinHandle<Result<Verdict, StoreError>> {
    let store = store.clone();
    let task = tokio::spawn(async move { store.append(append).await });
    tokio::task::yield_now().await;
    task
}
