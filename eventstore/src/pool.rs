//! Connections to Postgres, with a bound on how long anything may take.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::timeout;

use crate::database::{Database, GIVE_BACK, silent};
use crate::error::StoreError;

/// Idle time after which a connection is tried before it is used.
const PING_AFTER: Duration = Duration::from_millis(500);
/// How long such a try may take. Another connection is made in place of a silent one.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a transaction may stand still at most, however long a statement may take: whoever
/// froze in the middle of one holds locks that others wait for.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(60);

/// How to connect.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Connections at most.
    pub max_connections: u32,
    /// How long one statement may run. It may wait for a lock for half of that, so that one who
    /// waits too long is told from one that does too much.
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
pub fn connect(url: &str, options: &PoolOptions) -> Result<Database, StoreError> {
    let connect = PgConnectOptions::from_str(url)
        .map_err(|source| StoreError::Database { doing: "read the database URL", source })?
        .application_name("colloquy")
        .options(settings(options));
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        // A ping before each use would double the round trips; one after a pause finds the
        // connections that a restarted server has closed.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER {
                    timeout(PING_TIMEOUT, connection.ping()).await.map_err(|_| silent())??;
                }
                Ok(true)
            })
        })
        // For those who use the pool itself: a reply that is still to come is not waited for long.
        .after_release(|connection, _| {
            Box::pin(async move {
                timeout(GIVE_BACK, connection.flush()).await.map_err(|_| silent())??;
                Ok(true)
            })
        })
        .connect_lazy_with(connect);
    Ok(Database::new(pool, options.statement_timeout))
}

/// What the server is to bound by itself. The last four let it notice that this process is gone
/// without a word: until then it would keep the locks of its connections.
///
/// So no transaction of ours holds the lock of appends for long. One of somebody else's is not
/// ended from here: who it is and what it is about can't be known, and it takes rights that the
/// application needn't have. Appends are then refused within seconds (`batcher.rs`)
/// and go on once it is gone.
fn settings(options: &PoolOptions) -> [(&'static str, String); 7] {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let standstill = options.statement_timeout.min(LONGEST_STANDSTILL);
    [
        ("statement_timeout", milliseconds(options.statement_timeout)),
        ("lock_timeout", milliseconds(options.statement_timeout / 2)),
        ("idle_in_transaction_session_timeout", milliseconds(standstill)),
        ("tcp_keepalives_idle", "5".to_owned()),
        ("tcp_keepalives_interval", "2".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "10000".to_owned()),
    ]
}
