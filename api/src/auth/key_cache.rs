//! Keys found good a moment ago, so that a busy caller costs no query.
//!
//! An entry lives for [`LIFE`], counted from before the query was sent: whatever the query did
//! not see yet is refused that long after it happened at the latest. Towards the end of that
//! time one caller is sent to look again while the others are still served, so that a busy key
//! never meets a closed door. Only good keys are kept; their number is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::identity::Identity;
use crate::auth::key_secret::KeyHash;

/// How long a key is taken for good without asking.
pub(super) const LIFE: Duration = Duration::from_secs(1);
const RENEW_AFTER: Duration = Duration::from_millis(750);
const MAX_ENTRIES: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct KeyCache(Mutex<HashMap<KeyHash, Entry>>);

#[derive(Debug)]
struct Entry {
    identity: Identity,
    asked: Instant,
    renewing: bool,
}

impl KeyCache {
    /// Whom the key speaks for; none if the caller is to ask the database.
    pub(super) fn get(&self, hash: &KeyHash, now: Instant) -> Option<Identity> {
        let mut entries = self.lock();
        let entry = entries.get_mut(hash)?;
        let age = now.saturating_duration_since(entry.asked);
        if age >= LIFE {
            entries.remove(hash);
            return None;
        }
        if age >= RENEW_AFTER && !entry.renewing {
            entry.renewing = true;
            return None;
        }
        Some(entry.identity.clone())
    }

    /// Keeps a key found good by a query sent at `asked`.
    pub(super) fn insert(&self, hash: KeyHash, identity: Identity, asked: Instant) {
        let mut entries = self.lock();
        if entries.len() >= MAX_ENTRIES {
            // Rare, and cheap to make good: each key in use is asked for once more.
            entries.clear();
        }
        entries.insert(hash, Entry { identity, asked, renewing: false });
    }

    /// Forgets a key.
    pub(super) fn remove(&self, hash: &KeyHash) {
        self.lock().remove(hash);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use domain::{Actor, TenantId};

    use super::*;

    fn identity() -> Identity {
        let actor = Actor::system(TenantId::from_str("acme").unwrap());
        Identity { actor, named_tier: None }
    }

    #[test]
    fn an_entry_lives_for_a_second_after_the_question() {
        let (cache, asked) = (KeyCache::default(), Instant::now());
        cache.insert([1; 32], identity(), asked);
        assert!(cache.get(&[1; 32], asked).is_some());
        assert!(cache.get(&[2; 32], asked).is_none());
        assert!(cache.get(&[1; 32], asked + LIFE).is_none());
    }

    #[test]
    fn one_caller_renews_while_the_others_are_served() {
        let (cache, asked) = (KeyCache::default(), Instant::now());
        cache.insert([1; 32], identity(), asked);
        let late = asked + RENEW_AFTER;
        assert!(cache.get(&[1; 32], late).is_none());
        assert!(cache.get(&[1; 32], late).is_some());
        // Whoever was sent may not have come back.
        assert!(cache.get(&[1; 32], asked + LIFE).is_none());
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let cache = KeyCache::default();
        let now = Instant::now();
        for number in 0..3 * MAX_ENTRIES {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            cache.insert(hash, identity(), now);
            assert!(cache.lock().len() <= MAX_ENTRIES);
        }
    }
}
