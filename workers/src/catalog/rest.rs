//! Providers that fail again and again are let rest for a while: a model that has another one
//! turns to that first. Nobody waits then for one that hangs, turn after turn, until its
//! timeout has passed. It is still asked where all others fail.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::provider::ProviderError;

/// So many failures in a row are no accident.
const ENOUGH: u32 = 3;
/// How long a provider rests before one request looks whether it is well again.
const PAUSE: Duration = Duration::from_secs(10);

/// Who rests, by the provider's name.
#[derive(Default)]
pub(super) struct Rest(Mutex<HashMap<String, Failing>>);

struct Failing {
    in_row: u32,
    until: Instant,
}

impl Rest {
    fn failing(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether others are to be asked before it.
    pub(super) fn holds(&self, provider: &str) -> bool {
        let failing = self.failing();
        let found = failing.get(provider).filter(|one| one.in_row >= ENOUGH);
        found.is_some_and(|one| Instant::now() < one.until)
    }

    /// It is asked: while its answer is awaited, it rests for all others.
    pub(super) fn ask(&self, provider: &str) {
        if let Some(one) = self.failing().get_mut(provider) {
            one.until = Instant::now() + PAUSE;
        }
    }

    /// It has begun to answer, or failed. Only what may pass counts: all else is told at once.
    pub(super) fn learn(&self, provider: &str, error: Option<&ProviderError>) {
        let mut failing = self.failing();
        if !error.is_some_and(ProviderError::is_retryable) {
            failing.remove(provider);
            return;
        }
        let until = Instant::now() + PAUSE;
        let one = failing.entry(provider.to_owned()).or_insert(Failing { in_row: 0, until });
        one.in_row = one.in_row.saturating_add(1);
        one.until = until;
    }
}

#[cfg(test)]
mod tests;
