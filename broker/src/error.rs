//! What can go wrong with the broker.

use std::error::Error;

/// An error of the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The server's address is no URL that can be used.
    #[error("the NATS URL can't be used")]
    Url(#[source] Box<dyn Error + Send + Sync>),
    /// The server could not be reached, or refused.
    #[error("NATS is unavailable while trying to {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Somebody else published meanwhile: read where the stream stands and go on from there.
    #[error("the event stream has moved on")]
    Superseded,
    /// A message that isn't what its subject says.
    #[error("a message on {subject} can't be read")]
    Malformed {
        /// Where it came.
        subject: String,
    },
}

impl BrokerError {
    pub(crate) fn url<E: Into<Box<dyn Error + Send + Sync>>>(source: E) -> Self {
        Self::Url(source.into())
    }

    /// Wraps whatever async-nats says.
    pub(crate) fn unavailable<E: Into<Box<dyn Error + Send + Sync>>>(
        doing: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Unavailable { doing, source: source.into() }
    }
}
