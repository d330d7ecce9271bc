//! Folded states of sessions in recent use.
//!
//! A state is taken out while a command works on it and put back after, so that it has one
//! owner and folding events into it copies nothing.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use domain::SessionId;
use domain::session::Session;
use lru::LruCache;

/// Sessions kept at most.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Bytes of their messages and settings, about, that are kept at most.
const MAX_WEIGHT: usize = 64 * 1024 * 1024;

/// A state and the version of the stream it was folded from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versioned {
    pub(crate) session: Arc<Session>,
    pub(crate) version: i64,
}

pub(crate) struct SessionCache {
    kept: Mutex<Kept>,
}

struct Kept {
    sessions: LruCache<SessionId, Versioned>,
    weight: usize,
}

impl Kept {
    fn take(&mut self, id: SessionId) -> Option<Versioned> {
        let state = self.sessions.pop(&id)?;
        self.weight -= state.session.weight;
        Some(state)
    }

    fn put(&mut self, id: SessionId, state: Versioned) {
        self.weight += state.session.weight;
        // What falls out at the end was the longest not in use.
        if let Some((_, out)) = self.sessions.push(id, state) {
            self.weight -= out.session.weight;
        }
        while self.weight > MAX_WEIGHT {
            let Some((_, out)) = self.sessions.pop_lru() else { return };
            self.weight -= out.session.weight;
        }
    }
}

impl SessionCache {
    pub(crate) fn new() -> Self {
        let kept = Kept { sessions: LruCache::new(CAPACITY), weight: 0 };
        Self { kept: Mutex::new(kept) }
    }

    /// Takes the state out.
    pub(crate) fn take(&self, id: SessionId) -> Option<Versioned> {
        self.lock().take(id)
    }

    /// Puts a state in, unless a newer one is there. A stateless call's session that has
    /// ended will not be asked for again.
    pub(crate) fn put(&self, id: SessionId, state: Versioned) {
        if state.session.ephemeral && state.session.active.is_empty() {
            return;
        }
        let mut kept = self.lock();
        let there = kept.sessions.peek(&id).map(|there| there.version);
        if there.is_none_or(|there| there < state.version) {
            drop(kept.take(id));
            kept.put(id, state);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
