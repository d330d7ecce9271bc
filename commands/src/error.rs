//! Why a command was not carried out.

use std::sync::Arc;

use domain::catalog::CatalogRejection;
use domain::quota::{AccountView, QuotaRejection};
use domain::session::Rejection;
use eventstore::StoreError;

/// A command's failure. Unless it is [`CommandError::Store`], nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The session's rules refuse it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The account's rules refuse it.
    #[error("{rejection}")]
    Quota {
        /// Why.
        rejection: QuotaRejection,
        /// The account that refuses.
        account: Box<AccountView>,
    },
    /// The catalog's rules refuse it.
    #[error(transparent)]
    Catalog(#[from] CatalogRejection),
    /// Its id was used for another request.
    #[error("this command id was used for another request")]
    IdReused,
    /// Others kept changing the same stream.
    #[error("too many changes at once; try again")]
    Contended,
    /// The store failed; a repeat under the same id is safe.
    #[error("the event store failed")]
    Store(#[source] Arc<StoreError>),
    /// The command or its events could not be encoded.
    #[error("the command could not be encoded")]
    Encoding(#[source] Arc<serde_json::Error>),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<serde_json::Error> for CommandError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encoding(Arc::new(error))
    }
}

impl CommandError {
    /// The same error for another one whom it hit.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::Rejected(rejection) => Self::Rejected(rejection.clone()),
            Self::Quota { rejection, account } => {
                Self::Quota { rejection: rejection.clone(), account: account.clone() }
            }
            Self::Catalog(rejection) => Self::Catalog(rejection.clone()),
            Self::IdReused => Self::IdReused,
            Self::Contended => Self::Contended,
            Self::Store(error) => Self::Store(Arc::clone(error)),
            Self::Encoding(error) => Self::Encoding(Arc::clone(error)),
        }
    }
}
