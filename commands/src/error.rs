//! Why a command was not carried out.

use domain::session::Rejection;
use eventstore::StoreError;

/// A command's failure. Unless it is [`CommandError::Store`], nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The rules refuse it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its id was used for another request.
    #[error("this command id was used for another request")]
    IdReused,
    /// Others kept changing the same stream.
    #[error("too many changes at once; try again")]
    Contended,
    /// The store failed; a repeat under the same id is safe.
    #[error("the event store failed")]
    Store(#[from] StoreError),
    /// The command or its events could not be encoded.
    #[error("the command could not be encoded")]
    Encoding(#[from] serde_json::Error),
}
