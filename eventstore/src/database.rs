//! The database as everything here asks it: every question ends in time, and a connection that
//! fell silent is never waited for.
//!
//! A server that is gone without a word (its host died, the network was cut) answers nothing,
//! not even its own timeouts. A pool of sqlx waits for it for ever, and not only for the reply:
//! before it takes a connection back it asks the server whether all is well, and as long as that
//! goes unanswered the connection's place in the pool is taken.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::pool::PoolOptions;

/// What the way there and back may add to the time that a statement may take.
const TRANSIT: Duration = Duration::from_secs(1);
/// How long a connection may take to be fit for the next one who asks.
pub(crate) const GIVE_BACK: Duration = Duration::from_secs(2);

/// A pool of connections whose every call has an end. Clones share the connections.
///
/// It stands wherever a query of sqlx wants an executor. Rows are gathered before the first is
/// handed on, so the queries are to have limits.
#[derive(Clone)]
pub struct Database {
    pool: PgPool,
    patience: Duration,
}

impl Database {
    /// `pool`, whose server ends any statement after `statement_timeout`.
    pub(crate) fn new(pool: PgPool, statement_timeout: Duration) -> Self {
        Self { pool, patience: statement_timeout + TRANSIT }
    }

    /// A connection for more than one question. What is asked with it is bounded by who asks.
    ///
    /// # Errors
    /// When none can be had in time.
    pub async fn acquire(&self) -> Result<Lease, Error> {
        Ok(Lease(Some(self.pool.acquire().await?)))
    }

    /// The result of `call`, or that the server said nothing.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        within(self.patience, call).await
    }
}

/// The result of `call`, or that the server said nothing within `limit`. For connections of one's
/// own: what goes through [`Database`] is bounded there.
///
/// # Errors
/// The call's, or that it took too long.
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(silent()))
}

/// The server said nothing in time.
pub(crate) fn silent() -> Error {
    Error::Io(io::ErrorKind::TimedOut.into())
}

impl From<PgPool> for Database {
    fn from(pool: PgPool) -> Self {
        Self::new(pool, PoolOptions::default().statement_timeout)
    }
}

/// For what wants the pool itself: its options, migrations, postgres-es. A query on it has no end
/// of its own.
impl Deref for Database {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

/// A connection of the pool, to which it goes back; if its server is silent by then, it is
/// closed instead.
pub struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    /// The connection.
    ///
    /// # Errors
    /// Never: it is there until the lease is dropped.
    pub fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.0.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// The connection for good: the pool forgets it.
    ///
    /// # Errors
    /// Never: it is there until the lease is dropped.
    pub fn detach(mut self) -> Result<PgConnection, Error> {
        self.0.take().map(PoolConnection::detach).ok_or(Error::PoolClosed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        match Handle::try_current() {
            // Out of time, the returning is dropped, and with it the connection and its place.
            Ok(runtime) => drop(runtime.spawn(timeout(GIVE_BACK, connection.return_to_pool()))),
            Err(_) => drop(connection.detach()),
        }
    }
}

impl Executor<'_> for &'_ Database {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let database = self.clone();
        let rows = async move {
            let mut lease = database.acquire().await?;
            let rows = lease.connection()?.fetch_many(query).try_collect::<Vec<_>>();
            let rows = database.in_time(rows).await?;
            Ok(stream::iter(rows.into_iter().map(Ok)))
        };
        rows.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let database = self.clone();
        let row = async move {
            let mut lease = database.acquire().await?;
            let row = lease.connection()?.fetch_optional(query);
            database.in_time(row).await
        };
        row.boxed()
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, Error>> {
        let database = self.clone();
        let prepared = async move {
            let mut lease = database.acquire().await?;
            let prepared = lease.connection()?.prepare_with(sql, parameters);
            database.in_time(prepared).await
        };
        prepared.boxed()
    }

    fn describe<'e, 'q: 'e>(
        self,
        sql: &'q str,
    ) -> BoxFuture<'e, Result<Describe<Postgres>, Error>> {
        let database = self.clone();
        let described = async move {
            let mut lease = database.acquire().await?;
            let described = lease.connection()?.describe(sql);
            database.in_time(described).await
        };
        described.boxed()
    }
}
