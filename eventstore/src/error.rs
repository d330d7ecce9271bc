//! What can go wrong with the store.

/// An error of the event store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached, or not in time.
    #[error("the database is unavailable while trying to {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The reply to an append was lost: it may have happened or not. The same append again tells.
    #[error("the database's reply was lost; the append may or may not have happened")]
    InDoubt,
    /// The database answered with an error.
    #[error("the database refused to {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// An event of the log that this version can't read.
    #[error("event {sequence} of {stream} ({event}) can't be decoded: {reason}")]
    Undecodable {
        /// Its type and version.
        event: String,
        /// Its stream.
        stream: String,
        /// Its place there.
        sequence: i64,
        /// Why, without the payload's words.
        reason: String,
    },
    /// The shared table shape couldn't be read.
    #[error("a stream could not be read")]
    Repository(#[source] cqrs_es::persist::PersistenceError),
    /// An append that contradicts itself.
    #[error("the append is malformed: {0}")]
    Malformed(String),
    /// Too many appends wait already.
    #[error("the append queue is full")]
    Overloaded,
    /// The store is shutting down.
    #[error("the event store is closing")]
    Closing,
    /// Migrations are missing or differ.
    #[error("the database's schema doesn't fit: {0}")]
    Schema(String),
    /// A migration failed.
    #[error("a migration failed")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// What is wrong with an event's JSON. Serde's own text quotes the payload, which is a
    /// person's words.
    pub(crate) fn reason(error: &serde_json::Error) -> String {
        let text = error.to_string();
        let known = text.split(" at line").next().filter(|text| text.starts_with("missing field"));
        format!("{} (byte {})", known.unwrap_or("not of a known shape"), error.column())
    }

    /// Sorts a database error into "try again later" and the rest.
    pub fn from_sqlx(doing: &'static str, source: sqlx::Error) -> Self {
        if is_transient(&source) {
            Self::Unavailable { doing, source }
        } else {
            Self::Database { doing, source }
        }
    }

    /// Whether the database broke a statement off because it took too long.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Unavailable { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| code == "57014")
            }
            _ => false,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        use StoreError::{Closing, InDoubt, Overloaded, Unavailable};
        matches!(self, Unavailable { .. } | InDoubt | Overloaded | Closing)
    }

    /// Whether the statement that failed so may have been carried out. An error that the server
    /// answers with says that it was not, unless the server was about to end the connection: that
    /// may strike between the commit and its reply.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Unavailable { source: sqlx::Error::Database(error), .. } => error
                .code()
                .is_none_or(|code| ["57P", "08", "XX"].iter().any(|class| code.starts_with(class))),
            // No connection was to be had, so nothing was sent.
            Self::Unavailable { source, .. } => {
                !matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
            }
            _ => false,
        }
    }
}

/// SQLSTATE classes of trouble that passes by itself: connection exceptions (08), a server in
/// read-only mode (25006), transactions that stood still too long (25P), serialisation failures
/// (40), insufficient resources, as a full disk (53), lock timeouts (55P03), operator
/// intervention and timeouts (57), a disk that fails (58), and what the server has no better word
/// for (XX): it may be about to crash.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "25006", "25P", "40", "53", "55P03", "57", "58", "XX"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}
