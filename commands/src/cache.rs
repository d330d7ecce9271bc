//! Folded states of sessions in recent use.
//!
//! A state is taken out while a command works on it and put back after, so that it has one
//! owner and folding events into it copies nothing.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use domain::SessionId;
use domain::session::Session;
use lru::LruCache;

/// Sessions kept.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A state and the version of the stream it was folded from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versioned {
    pub(crate) session: Arc<Session>,
    pub(crate) version: i64,
}

pub(crate) struct SessionCache {
    sessions: Mutex<LruCache<SessionId, Versioned>>,
}

impl SessionCache {
    pub(crate) fn new() -> Self {
        Self { sessions: Mutex::new(LruCache::new(CAPACITY)) }
    }

    /// Takes the state out.
    pub(crate) fn take(&self, id: SessionId) -> Option<Versioned> {
        self.lock().pop(&id)
    }

    /// Puts a state in, unless a newer one is there. A stateless call's session that has
    /// ended will not be asked for again.
    pub(crate) fn put(&self, id: SessionId, state: Versioned) {
        if state.session.ephemeral && state.session.active.is_empty() {
            return;
        }
        let mut sessions = self.lock();
        if sessions.peek(&id).is_none_or(|there| there.version < state.version) {
            sessions.put(id, state);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<SessionId, Versioned>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
