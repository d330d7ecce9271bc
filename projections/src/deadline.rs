//! A bound on waits for the database. It has limits of its own for what it is asked, but a
//! connection may be dead without anybody saying so. (What goes through the store's pool is bounded
//! there; these are for connections of one's own.)

use std::io;
use std::time::Duration;

/// How long a batch may take.
pub(crate) const BATCH: Duration = Duration::from_secs(10);
/// How long the search for an event that the database refuses may take.
pub(crate) const CAREFUL: Duration = Duration::from_secs(60);
/// How long a page of a rebuild may take.
pub(crate) const REBUILD: Duration = Duration::from_secs(600);

/// `work`, or an error that says it took too long.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}
