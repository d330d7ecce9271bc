//! A bound on every call to the database from our side: a server that is gone without a word
//! (its host died, the network was cut) answers nothing, not even its own timeouts.

use std::future::Future;
use std::time::Duration;

use crate::error::StoreError;

/// Longer than any statement may take (`PoolOptions::statement_timeout`) and than a connection
/// takes to be had.
const SILENCE: Duration = Duration::from_secs(12);

/// The call's result, or that the database is unavailable.
pub(crate) async fn in_time<T>(
    doing: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(SILENCE, call).await.unwrap_or_else(|_| {
        let source = sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        Err(StoreError::Unavailable { doing, source })
    })
}
