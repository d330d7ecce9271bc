//! Who is calling: a bearer token becomes an [`Identity`].
//!
//! The token is either a JWT of the deployment's identity provider or an API key made here.
//! Tenant and user come from it alone; nothing else in a request can name them. A token never
//! stands in an error or a log.
//!
//! - `jwt`, `claims`: signature and claims of a JWT; `jwks`, `key_set`: the provider's keys.
//! - `api_keys`: making, listing and revoking keys; `key_lookup`, `key_cache`: checking them;
//!   `key_secret`: their form.

mod api_keys;
mod claims;
mod config;
mod error;
mod identity;
mod jwks;
mod jwt;
mod key_cache;
mod key_lookup;
mod key_secret;
mod key_set;

use std::sync::Arc;

use domain::Clock;

pub use api_keys::{ApiKeyError, ApiKeys, KeyInfo, KeyRequest, NewKey};
pub use config::{AuthConfig, AuthConfigError, JwksConfig, JwtConfig, SharedSecret};
pub use error::{AuthError, Unavailable};
pub use identity::Identity;
pub use jwks::JwksError;

use jwt::Jwt;

/// Longer than any identity provider's token, and short enough to be cheap to refuse.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Tells from a bearer token who is calling.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<Jwt>,
    keys: ApiKeys,
}

impl Authenticator {
    /// One that accepts API keys and, where configured, JWTs; `clock` decides their expiry.
    pub fn new(
        config: AuthConfig,
        keys: ApiKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthConfigError> {
        let jwt = config.jwt.map(|jwt| Jwt::new(jwt, clock)).transpose()?;
        Ok(Self { jwt, keys })
    }

    /// The API keys it accepts.
    pub fn keys(&self) -> &ApiKeys {
        &self.keys
    }

    /// Whom the value of an `Authorization` header speaks for.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Identity, AuthError> {
        self.authenticate_token(bearer(authorization)?).await
    }

    /// Whom a bare token speaks for, for clients that can set no header.
    pub async fn authenticate_token(&self, token: &str) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::InvalidToken("it is too long"));
        }
        if token.starts_with(key_secret::MARK) {
            return self.keys.authenticate(token).await;
        }
        match &self.jwt {
            Some(jwt) => jwt.authenticate(token).await,
            None => Err(AuthError::InvalidToken("it is not an API key (`clq_…`)")),
        }
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(authorization: Option<&str>) -> Result<&str, AuthError> {
    let (scheme, token) = authorization
        .and_then(|value| value.trim().split_once(' '))
        .ok_or(AuthError::MissingToken)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(AuthError::MissingToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_counts() {
        for good in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(bearer(Some(good)).unwrap(), "abc", "{good:?}");
        }
        let bad = [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic abc"), Some("abc")];
        for value in bad {
            assert!(matches!(bearer(value), Err(AuthError::MissingToken)), "{value:?}");
        }
    }
}
