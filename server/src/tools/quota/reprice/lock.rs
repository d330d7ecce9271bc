//! One reprice at a time: two would correct the same entries twice.

use std::io::ErrorKind;
use std::time::Duration;

use eventstore::StoreError;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::timeout;

use crate::tools::quota::QuotaError;

/// The advisory lock's number.
const LOCK: i64 = 7_245_873_190_469;
/// A database that is gone without a word answers nothing.
const SILENCE: Duration = Duration::from_secs(15);

/// The lock; it lives as long as its connection, which nobody else has.
pub(super) struct Lock(PgConnection);

impl Lock {
    /// Takes it if nobody has it.
    pub(super) async fn take(pool: &PgPool) -> Result<Self, QuotaError> {
        let options = pool.connect_options();
        let mut connection = in_time(PgConnection::connect_with(&options)).await?;
        let taken: bool = in_time(
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(LOCK)
                .fetch_one(&mut connection),
        )
        .await?;
        if taken { Ok(Self(connection)) } else { Err(QuotaError::RepriceRuns) }
    }

    /// That the connection still stands, and with it the lock.
    pub(super) async fn check(&mut self) -> Result<(), QuotaError> {
        Ok(in_time(self.0.ping()).await?)
    }

    /// Gives it back at once.
    pub(super) async fn release(self) {
        drop(timeout(SILENCE, self.0.close()).await);
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let silent = |_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into()));
    let result = timeout(SILENCE, call).await.unwrap_or_else(silent);
    result.map_err(|error| StoreError::from_sqlx("hold the lock of reprices", error))
}
