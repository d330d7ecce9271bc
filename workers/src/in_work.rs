//! The turns that this worker process is at, and how each is reached.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{TurnId, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How an attempt in work is reached.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Somebody asked the turn to stop.
    pub(crate) stop: CancellationToken,
    /// Something may have happened to the turn: look into the log.
    pub(crate) look: Notify,
}

/// What a worker process is at.
#[derive(Debug)]
pub(crate) struct InWork {
    worker_id: WorkerId,
    turns: Mutex<HashMap<TurnId, Arc<Reach>>>,
}

/// One turn in work; it ends when this is dropped.
pub(crate) struct AtWork {
    work: Arc<InWork>,
    turn_id: TurnId,
    pub(crate) reach: Arc<Reach>,
}

impl InWork {
    pub(crate) fn new(worker_id: WorkerId) -> Self {
        Self { worker_id, turns: Mutex::default() }
    }

    /// The worker's name.
    pub(crate) fn worker_id(&self) -> &str {
        self.worker_id.as_str()
    }

    /// Begins with `turn_id`; none if it is in work here already.
    pub(crate) fn begin(self: &Arc<Self>, turn_id: TurnId) -> Option<AtWork> {
        match self.lock().entry(turn_id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let reach = Arc::clone(place.insert(Arc::default()));
                Some(AtWork { work: Arc::clone(self), turn_id, reach })
            }
        }
    }

    /// All turns in work.
    pub(crate) fn turns(&self) -> Vec<TurnId> {
        self.lock().keys().copied().collect()
    }

    /// Stops `turn_id` if it is in work here.
    pub(crate) fn stop(&self, turn_id: TurnId) {
        if let Some(reach) = self.lock().get(&turn_id) {
            reach.stop.cancel();
        }
    }

    /// Makes those of `turns` that are in work look into the log.
    pub(crate) fn look(&self, turns: impl IntoIterator<Item = TurnId>) {
        let in_work = self.lock();
        for turn_id in turns {
            if let Some(reach) = in_work.get(&turn_id) {
                reach.look.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, Arc<Reach>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.work.lock().remove(&self.turn_id);
    }
}
