//! Groups on demand: what is sent while every append is held back goes out together.

use std::pin::Pin;
use std::time::Duration;

use commands::{Caller, CommandBus};
use domain::SessionId;
use domain::session::SessionCommand;
use futures::future::join_all;
use sqlx::{Connection, PgConnection};

use crate::turns::{Done, Turn, open_session};
use crate::world::{World, ann, in_time};

/// Somebody sends this to that session, for that turn.
pub(crate) type Sent = (Turn, SessionCommand, Caller);

pub(crate) type Sending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The lock under which the append function works.
const APPEND_LOCK: i64 = 7_245_873_190_467;

/// While it is closed nothing is appended.
struct Gate(PgConnection);

impl Gate {
    async fn close(world: &World) -> Self {
        let options = world.store.pool().connect_options();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let lock = "SELECT pg_advisory_lock($1)";
        sqlx::query(lock).bind(APPEND_LOCK).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn open(self) {
        self.0.close().await.unwrap();
    }
}

/// A command that is about to be sent.
pub(crate) fn send(bus: &CommandBus, (turn, command, by): Sent) -> Sending<Done> {
    let bus = bus.clone();
    Box::pin(async move { bus.execute(turn.session_id, &command, &by).await })
}

/// The results of `sends`, which go out as one group behind an append that is held back, and
/// of `meanwhile`, which begins when it no longer is. For runtimes of one thread: what is sent
/// has to be in its account's queue after its first step, so `bus` must know the account and
/// the sessions.
pub(crate) async fn as_a_group<T>(
    world: &World,
    bus: &CommandBus,
    mut sends: Vec<Sending<T>>,
    meanwhile: impl AsyncFnOnce(),
) -> Vec<T> {
    let gate = Gate::close(world).await;
    let turn = Turn::new();
    let mut first = Box::pin(turn.request(bus));
    assert!(futures::poll!(first.as_mut()).is_pending());
    // Its lane takes it before anybody else is there, so it goes alone.
    tokio::task::yield_now().await;
    for sending in &mut sends {
        assert!(futures::poll!(sending.as_mut()).is_pending());
    }
    gate.open().await;
    meanwhile().await;
    let all = async { (first.await, join_all(sends).await) };
    let (first, results) = in_time("the group", Duration::from_secs(20), all).await;
    first.unwrap();
    results
}

/// The results of `sends` as one group.
pub(crate) async fn all_of(world: &World, bus: &CommandBus, sends: Vec<Sent>) -> Vec<Done> {
    let sends = sends.into_iter().map(|sent| send(bus, sent)).collect();
    as_a_group(world, bus, sends, async || {}).await
}

/// Sessions that `bus` knows, of an account that it knows.
pub(crate) async fn sessions(bus: &CommandBus, count: usize) -> Vec<SessionId> {
    Turn::new().request(bus).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(open_session(bus).await);
    }
    sessions
}

pub(crate) fn message(session: SessionId) -> Sent {
    let turn = Turn::of(session);
    (turn, turn.send("hello"), ann())
}

pub(crate) fn completion(by: Caller) -> Sent {
    let turn = Turn::new();
    (turn, turn.complete_this(), by)
}
