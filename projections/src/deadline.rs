//! A bound on waits for the database. It has limits of its own for what it is asked, but a
//! connection may be dead without anybody saying so. (Reads of the log are bounded by the store.)

use std::io;
use std::time::Duration;

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

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}
