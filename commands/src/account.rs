//! Accounts in memory: folded from a verified snapshot and what came after it, so that an old
//! account loads as fast as a new one.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use domain::quota::{Account, Hold, QUOTA};
use domain::{AccountId, ReservationId};
use eventstore::{EventStore, StoreError};
use lru::LruCache;

/// Accounts kept at most.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Bytes of their holds and requests, about, that are kept at most.
const MAX_WEIGHT: usize = 64 * 1024 * 1024;
/// Events after which a new snapshot is worth its row.
const SNAPSHOT_EVERY: i64 = 256;
/// Names the shape of [`Account`]: a snapshot of another shape is not looked at. Change it
/// whenever the same events fold to another state than before.
pub(crate) const SHAPE: &str = "account-1";

/// An account, and the version of the stream that it was folded from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versioned {
    pub(crate) account: Arc<Account>,
    pub(crate) version: i64,
    /// The version of the newest snapshot that is known here.
    snapshot: i64,
}

/// About how many bytes an account has in memory.
fn weight(account: &Account) -> usize {
    /// A hold with its place in a tree and its two short texts.
    const HOLD: usize = size_of::<(ReservationId, Hold)>() + 64;
    let (older, newer) = account.recent.as_slices();
    size_of::<Account>() + account.holds.len() * HOLD + size_of_val(older) + size_of_val(newer)
}

impl Versioned {
    /// Folds in what the log has beyond this; tells whether there was anything.
    pub(crate) async fn catch_up(
        &mut self,
        store: &EventStore,
        id: AccountId,
    ) -> Result<bool, StoreError> {
        let known = self.version;
        let id = id.to_string();
        if known == 0
            && let Some(snapshot) = store.load_snapshot::<Account>(QUOTA, &id, SHAPE).await?
        {
            self.account = Arc::new(snapshot.state);
            self.version = snapshot.version;
            self.snapshot = snapshot.version;
        }
        for loaded in store.load::<Account>(&id, self.version).await? {
            Arc::make_mut(&mut self.account).apply(&loaded.event);
            self.version = loaded.sequence;
        }
        Ok(self.version > known)
    }

    /// Keeps a snapshot if the last one is old. A failure is no matter: the log is there.
    pub(crate) fn keep_snapshot(&mut self, store: &EventStore, id: AccountId) {
        if self.version - self.snapshot < SNAPSHOT_EVERY {
            return;
        }
        self.snapshot = self.version;
        let (store, version, account) = (store.clone(), self.version, Arc::clone(&self.account));
        tokio::spawn(async move {
            let Ok(state) = serde_json::to_string(&*account) else { return };
            let kept = store.save_snapshot(QUOTA, &id.to_string(), version, SHAPE, &state).await;
            if let Err(error) = kept {
                tracing::debug!(%error, account = %id, "a snapshot was not kept");
            }
        });
    }
}

/// The accounts in recent use.
pub(crate) struct AccountCache(Mutex<Kept>);

struct Kept {
    /// Each with its weight when it was put in.
    accounts: LruCache<AccountId, (Versioned, usize)>,
    weight: usize,
}

impl Kept {
    fn take(&mut self, id: AccountId) -> Option<Versioned> {
        let (state, weight) = self.accounts.pop(&id)?;
        self.weight -= weight;
        Some(state)
    }

    fn put(&mut self, id: AccountId, state: Versioned) {
        let weight = weight(&state.account);
        self.weight += weight;
        // What falls out is what stood there, or at the end the longest not in use.
        if let Some((_, (_, out))) = self.accounts.push(id, (state, weight)) {
            self.weight -= out;
        }
        while self.weight > MAX_WEIGHT {
            let Some((_, (_, out))) = self.accounts.pop_lru() else { return };
            self.weight -= out;
        }
    }
}

impl AccountCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Kept { accounts: LruCache::new(CAPACITY), weight: 0 }))
    }

    /// Takes the account out, so that it has one owner and folding copies nothing.
    pub(crate) fn take(&self, id: AccountId) -> Versioned {
        self.lock().take(id).unwrap_or_default()
    }

    /// A copy of the account, as far as it is known here.
    pub(crate) fn peek(&self, id: AccountId) -> Versioned {
        self.lock().accounts.get(&id).map(|(state, _)| state.clone()).unwrap_or_default()
    }

    pub(crate) fn put(&self, id: AccountId, state: Versioned) {
        self.lock().put(id, state);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{TenantId, UserId};

    use super::*;

    fn account(requests: usize) -> Versioned {
        let recent = std::iter::repeat_n(DateTime::UNIX_EPOCH, requests).collect();
        let account = Arc::new(Account { recent, ..Account::default() });
        Versioned { account, version: 1, snapshot: 0 }
    }

    fn id(number: usize) -> AccountId {
        let tenant: TenantId = "acme".parse().unwrap();
        AccountId::of(&tenant, &format!("u{number}").parse::<UserId>().unwrap())
    }

    #[test]
    fn busy_accounts_are_fewer() {
        let cache = AccountCache::new();
        let each = weight(&account(10_000).account);
        let most = MAX_WEIGHT / each;
        for number in 0..most + 10 {
            cache.put(id(number), account(10_000));
        }
        assert_eq!(cache.lock().accounts.len(), most);
        assert_eq!(cache.peek(id(0)).version, 0, "the first is gone");
        assert_eq!(cache.take(id(most + 9)).version, 1);
        assert_eq!(cache.lock().weight, (most - 1) * each);
        // The same one again takes the place of itself.
        cache.put(id(20), account(0));
        assert_eq!(cache.lock().accounts.len(), most - 1);
        assert_eq!(cache.lock().weight, (most - 2) * each + weight(&Account::default()));
    }
}
