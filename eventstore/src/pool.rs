//! Connections to Postgres, with a bound on how long anything may take.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};

use crate::error::StoreError;

/// Idle time after which a connection is tried before it is used.
const PING_AFTER: Duration = Duration::from_millis(500);

/// How to connect.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Connections at most.
    pub max_connections: u32,
    /// How long one statement may run.
    pub statement_timeout: Duration,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            statement_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// A pool on the database at `url`. Connects when first used, so a database that starts later
/// is no error here.
///
/// # Errors
/// When `url` isn't a Postgres URL.
pub fn connect(url: &str, options: &PoolOptions) -> Result<PgPool, StoreError> {
    let timeout = options.statement_timeout.as_millis().to_string();
    let connect = PgConnectOptions::from_str(url)
        .map_err(|source| StoreError::Database { doing: "read the database URL", source })?
        .application_name("colloquy")
        .options([
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", timeout.as_str()),
        ]);
    Ok(PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        // A ping before each use would double the round trips; one after a pause finds the
        // connections that a restarted server has closed.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connect))
}
