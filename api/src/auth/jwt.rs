//! A JWT's signature: which key may check which algorithm.
//!
//! The algorithm is bound to the kind of key: HS256 goes with the shared secret, RS256 and
//! ES256 with the key set, and no key is ever used for another algorithm. So a public key can't
//! be passed off as an HMAC secret. `none` and everything else is refused.

use std::sync::Arc;

use domain::Clock;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

use crate::auth::claims::{Claims, Expected};
use crate::auth::config::{AuthConfigError, JwtConfig};
use crate::auth::error::AuthError;
use crate::auth::identity::Identity;
use crate::auth::jwks::Jwks;

/// Checks JWTs.
pub(super) struct Jwt {
    secret: Option<Arc<DecodingKey>>,
    jwks: Option<Jwks>,
    expected: Expected,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Jwt {
    pub(super) fn new(config: JwtConfig, clock: Arc<dyn Clock>) -> Result<Self, AuthConfigError> {
        if config.secret.is_none() && config.jwks.is_none() {
            return Err(AuthConfigError::NoKeys);
        }
        Ok(Self {
            secret: config.secret.map(|secret| Arc::new(DecodingKey::from_secret(secret.bytes()))),
            jwks: config.jwks.map(Jwks::new).transpose()?,
            expected: Expected {
                issuer: config.issuer,
                audience: config.audience,
                leeway: config.leeway,
            },
            clock,
        })
    }

    pub(super) async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let header = decode_header(token).map_err(|_| {
            AuthError::InvalidToken("it is no JWT, or signed by an unknown algorithm")
        })?;
        if header.crit.is_some() {
            return Err(AuthError::InvalidToken("it asks for extensions that are not known here"));
        }
        let key = self.key(header.alg, header.kid.as_deref()).await?;
        let claims = decode::<Claims>(token, &key, &signature_only(header.alg))
            .map_err(|error| AuthError::InvalidToken(fault(error.kind())))?
            .claims;
        claims.identity(&self.expected, self.clock.now())
    }

    async fn key(&self, alg: Algorithm, kid: Option<&str>) -> Result<Arc<DecodingKey>, AuthError> {
        match (alg, &self.secret, &self.jwks) {
            (Algorithm::HS256, Some(secret), _) => Ok(Arc::clone(secret)),
            (Algorithm::RS256 | Algorithm::ES256, _, Some(jwks)) => jwks.key(kid, alg).await,
            _ => Err(AuthError::InvalidToken("its algorithm is not accepted")),
        }
    }
}

/// The library reads the system's clock, so its checks of claims are off and ours are on.
fn signature_only(alg: Algorithm) -> Validation {
    let mut validation = Validation::new(alg);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

fn fault(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => "its claims can't be read",
        _ => "its signature does not match",
    }
}
