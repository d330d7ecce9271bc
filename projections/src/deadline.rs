//! A bound on waits for the database. It has limits of its own for what it is asked, but a
//! connection may be dead without anybody saying so.

use std::io;
use std::time::Duration;

use eventstore::StoreError;

/// How long reading the log may take.
pub(crate) const READ: Duration = Duration::from_secs(10);
/// How long a batch may take.
pub(crate) const BATCH: Duration = Duration::from_secs(30);
/// How long a page of a rebuild may take.
pub(crate) const REBUILD: Duration = Duration::from_secs(600);

/// `work`, or an error that says it took too long.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out()))
}

/// The same for the store's own errors.
pub(crate) async fn read_within<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::from_sqlx("read the log", timed_out()));
    tokio::time::timeout(READ, work).await.unwrap_or_else(late)
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}
