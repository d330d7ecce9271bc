//! Why a caller is not let in.

use std::sync::Arc;

use crate::auth::jwks::JwksError;

/// A caller that could not be authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No bearer token was sent.
    #[error("a token is needed: `Authorization: Bearer <JWT or API key>`")]
    MissingToken,
    /// The token is not good, and why.
    #[error("the token is not valid: {0}")]
    InvalidToken(&'static str),
    /// The token was good once.
    #[error("the token has expired")]
    ExpiredToken,
    /// The API key was good once.
    #[error("the API key was revoked")]
    RevokedKey,
    /// There is no such API key.
    #[error("there is no such API key")]
    UnknownKey,
    /// It could not be told whether the token is good.
    #[error("tokens can't be checked at present; try again")]
    Unavailable(#[source] Unavailable),
}

/// What stood in the way of checking a token.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The database with the API keys.
    #[error("API keys can't be read")]
    Database(#[source] sqlx::Error),
    /// The database took too long.
    #[error("reading API keys took too long")]
    Slow,
    /// The identity provider's keys.
    #[error("the identity provider's keys can't be read")]
    Jwks(#[source] Arc<JwksError>),
}

impl AuthError {
    /// The stable code, as in error answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidToken(_) => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::RevokedKey => "revoked_key",
            Self::UnknownKey => "unknown_key",
            Self::Unavailable(_) => "auth_unavailable",
        }
    }

    /// Whether the fault is ours and passing (503), not the caller's (401).
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
