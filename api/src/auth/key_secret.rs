//! The form of an API key: `clq_` and 43 random letters and digits, 256 bits.
//!
//! A key is as random as a hash, so a plain SHA-256 is a safe thing to store, and looking the
//! hash up tells an attacker nothing through its timing.

use rand::Rng;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};

/// What every key begins with, so that people and scanners of leaked secrets know it.
pub(super) const MARK: &str = "clq_";
const RANDOM_CHARS: usize = 43;
/// How much of a key is kept readable; 35 characters stay secret.
const PREFIX_CHARS: usize = MARK.len() + 8;

/// A key's hash, as stored.
pub(super) type KeyHash = [u8; 32];

/// A new key and its hash, from the thread's cryptographic generator.
pub(super) fn generate() -> (String, KeyHash) {
    let random = rand::rng().sample_iter(Alphanumeric).take(RANDOM_CHARS).map(char::from);
    let secret: String = MARK.chars().chain(random).collect();
    let hash = Sha256::digest(&secret).into();
    (secret, hash)
}

/// The hash of `secret`, if it has the form of a key.
pub(super) fn hash(secret: &str) -> Option<KeyHash> {
    let random = secret.strip_prefix(MARK)?;
    let well_formed =
        random.len() == RANDOM_CHARS && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well_formed.then(|| Sha256::digest(secret).into())
}

/// The part by which a person can tell keys apart.
pub(super) fn prefix(secret: &str) -> String {
    secret.chars().take(PREFIX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_form() {
        let ((one, its_hash), (two, _)) = (generate(), generate());
        assert_ne!(one, two);
        assert_eq!(one.len(), 47);
        assert_eq!(hash(&one), Some(its_hash));
        assert_ne!(hash(&one), hash(&two));
        assert_eq!(prefix(&one), one[..12]);
    }

    #[test]
    fn other_forms_have_no_hash() {
        let (key, _) = generate();
        let long = format!("{key}a");
        let odd = format!("{}-", &key[..46]);
        for bad in ["", "clq_", &key[1..], &key[..46], &long, &odd, "clq_é"] {
            assert_eq!(hash(bad), None, "{bad:?}");
        }
    }
}
