//! What a deployment says about the tokens it accepts.

use std::fmt;
use std::time::Duration;

/// An HMAC key must be no shorter than its hash (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Which tokens are accepted, API keys aside.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// How JWTs are checked; none are accepted without.
    pub jwt: Option<JwtConfig>,
}

/// How JWTs are checked. At least one of `secret` and `jwks` is needed.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// The key of HS256 tokens.
    pub secret: Option<SharedSecret>,
    /// The source of the keys of RS256 and ES256 tokens.
    pub jwks: Option<JwksConfig>,
    /// The `iss` a token must have; any, if none is given.
    pub issuer: Option<String>,
    /// The `aud` a token must name; any, if none is given.
    pub audience: Option<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            secret: None,
            jwks: None,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
        }
    }
}

/// Where an identity provider publishes its keys.
#[derive(Debug, Clone)]
pub struct JwksConfig {
    /// The URL of the JSON Web Key Set.
    pub url: String,
    /// How long one fetch may take.
    pub timeout: Duration,
    /// How long fetched keys are used without asking again.
    pub fresh_for: Duration,
    /// The shortest time between two fetches, whatever key ids tokens name.
    pub min_interval: Duration,
}

impl JwksConfig {
    /// The keys at `url`, with the usual times.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            timeout: Duration::from_secs(5),
            fresh_for: Duration::from_secs(600),
            min_interval: Duration::from_secs(30),
        }
    }
}

/// A secret shared with the issuer of HS256 tokens.
#[derive(Clone)]
pub struct SharedSecret(Vec<u8>);

impl SharedSecret {
    /// The secret, if it is long enough to be one.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, AuthConfigError> {
        let secret = secret.into();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(AuthConfigError::WeakSecret);
        }
        Ok(Self(secret))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// A configuration that can't work.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// The shared secret could be guessed.
    #[error("the JWT secret must have at least {MIN_SECRET_BYTES} bytes")]
    WeakSecret,
    /// JWTs are wanted, but with no way to check them.
    #[error("JWTs need a shared secret or the URL of a key set")]
    NoKeys,
    /// The key set's URL is none.
    #[error("the key set's URL must begin with https:// or http://")]
    InvalidUrl,
    /// No HTTP client.
    #[error("the HTTP client for the key set can't be made")]
    Http(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_stays_out_of_debug() {
        assert!(matches!(SharedSecret::new("short"), Err(AuthConfigError::WeakSecret)));
        let secret = SharedSecret::new("a secret of at least thirty-two bytes").unwrap();
        assert_eq!(format!("{secret:?}"), "SharedSecret(…)");
    }
}
