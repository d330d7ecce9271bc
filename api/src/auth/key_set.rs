//! A JSON Web Key Set as far as it is of use here: RSA keys for RS256, P-256 keys for ES256.
//!
//! Keys of other kinds, for encryption, or too weak are passed over, so that one odd key does
//! not spoil a provider's whole set.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::error::AuthError;

/// RSA keys below 2048 bits are not to be trusted (RFC 7518, 3.3).
const MIN_RSA_BYTES: usize = 256;

/// The usable keys of a set.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    alg: Algorithm,
    decoding: Arc<DecodingKey>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    pub(super) fn parse(document: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(document)?;
        Ok(Self(document.keys.into_iter().filter_map(usable).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that `kid` names or, without one, the only key of the algorithm; none if it is
    /// not in this set.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<Arc<DecodingKey>>, AuthError> {
        let mut named =
            self.0.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).peekable();
        let any = named.peek().is_some();
        let mut fitting = named.filter(|key| key.alg == alg);
        match (fitting.next(), fitting.next()) {
            (None, _) if any && kid.is_some() => {
                Err(AuthError::InvalidToken("its algorithm is not that of its key"))
            }
            (Some(_), Some(_)) if kid.is_none() => {
                Err(AuthError::InvalidToken("it does not say which key signed it (`kid`)"))
            }
            (first, _) => Ok(first.map(|key| Arc::clone(&key.decoding))),
        }
    }
}

fn usable(key: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let alg = algorithm_of(&jwk.algorithm)?;
    if !signs || common.key_algorithm.is_some_and(|stated| !is_for(stated, alg)) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok().filter(is_strong)?;
    Some(Key { kid: jwk.common.key_id, alg, decoding: Arc::new(decoding) })
}

/// The one algorithm that a key of this type is used for.
fn algorithm_of(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        _ => None,
    }
}

fn is_for(stated: KeyAlgorithm, alg: Algorithm) -> bool {
    matches!(
        (stated, alg),
        (KeyAlgorithm::RS256, Algorithm::RS256) | (KeyAlgorithm::ES256, Algorithm::ES256)
    )
}

fn is_strong(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            n.iter().skip_while(|byte| **byte == 0).count() >= MIN_RSA_BYTES
        }
        DecodingKeyKind::SecretOrDer(_) => true,
    }
}
