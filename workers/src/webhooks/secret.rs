//! Signatures, as Standard Webhooks has them: HMAC-SHA256 over the delivery's id, the time of
//! the try and the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Begins a secret that is written in base64.
const PREFIX: &str = "whsec_";
/// Fewer bytes could be guessed.
const LEAST: usize = 24;

/// What an endpoint's requests are signed with.
#[derive(Clone)]
pub struct SigningSecret(Hmac<Sha256>);

/// A text that can't be used as a secret. It is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningSecret {
    /// Not base64 after its prefix.
    #[error("a webhook's secret that begins with whsec_ must go on in base64")]
    Encoding,
    /// It could be guessed.
    #[error("a webhook's secret must have at least {LEAST} bytes")]
    TooShort,
}

impl SigningSecret {
    /// The secret that `text` means: bytes in base64 after `whsec_`, or itself.
    ///
    /// # Errors
    /// When it is not base64 there, or too short.
    pub fn parse(text: &str) -> Result<Self, InvalidSigningSecret> {
        let bytes = match text.strip_prefix(PREFIX) {
            Some(encoded) => {
                STANDARD.decode(encoded).map_err(|_| InvalidSigningSecret::Encoding)?
            }
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < LEAST {
            return Err(InvalidSigningSecret::TooShort);
        }
        let keyed = Hmac::new_from_slice(&bytes).map_err(|_| InvalidSigningSecret::Encoding)?;
        Ok(Self(keyed))
    }

    /// The header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut hmac = self.0.clone();
        hmac.update(format!("{id}.{timestamp}.").as_bytes());
        hmac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(***)")
    }
}
