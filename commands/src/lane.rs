//! One lane an account: commands that touch the same account queue here and are folded into
//! few appends, instead of racing each other into conflicts.
//!
//! A lane exists while somebody is in it. The first to come starts its task; the task takes
//! what is waiting, decides it in order on the account as each leaves it, and appends all of
//! it at once (`batch.rs`). Other processes have lanes of their own for the same account: the
//! append tells which of them was first.

mod batch;
mod plan;

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::quota::{Account, QuotaCommand, QuotaContext};
use domain::{AccountId, Ids, TenantId};
use eventstore::{CommandRecord, EventStore, Position, StoreError, StreamAppend};
use tokio::sync::oneshot;

use crate::account::{AccountCache, Versioned};
use crate::error::CommandError;
use crate::reply::Billed;

/// Commands that may wait for one account; one more is refused.
const QUEUE: usize = 4096;
/// Commands in one append.
const BATCH: usize = 64;

/// A command on its way to an account, with the session's events that go with it.
pub(crate) struct Order {
    pub(crate) tenant_id: TenantId,
    /// What to ask of the account, in order; all or nothing.
    pub(crate) commands: Vec<QuotaCommand>,
    pub(crate) context: QuotaContext,
    /// The metadata of the account's events.
    pub(crate) metadata: Arc<str>,
    /// The session's events of the same append.
    pub(crate) session: Option<StreamAppend>,
    /// The record of a command that has an id.
    pub(crate) record: Option<CommandRecord>,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is in the log.
    Appended {
        /// The position of its last event; none if it changed nothing.
        last: Option<Position>,
        /// What it did to the account.
        billed: Option<Billed>,
    },
    /// It was carried out before; what was answered then.
    Repeated { outcome: String, last: Position },
    /// The session has moved on: load it and decide again.
    SessionMoved,
}

type Answer = Result<Outcome, CommandError>;

/// An order and who waits for its outcome.
struct Waiting {
    order: Order,
    reply: oneshot::Sender<Answer>,
}

/// All lanes of a process.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Shared>);

struct Shared {
    store: EventStore,
    ids: Arc<dyn Ids>,
    cache: AccountCache,
    /// The lanes that are in use.
    queues: Mutex<HashMap<AccountId, VecDeque<Waiting>>>,
}

impl Lanes {
    pub(crate) fn new(store: EventStore, ids: Arc<dyn Ids>) -> Self {
        let (cache, queues) = (AccountCache::new(), Mutex::default());
        Self(Arc::new(Shared { store, ids, cache, queues }))
    }

    /// Carries `order` out. Once it is queued it happens, whether or not anybody waits.
    pub(crate) async fn submit(&self, id: AccountId, order: Order) -> Answer {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { order, reply };
        match self.0.queues().entry(id) {
            Place::Occupied(queue) if queue.get().len() >= QUEUE => {
                return Err(StoreError::Overloaded.into());
            }
            Place::Occupied(mut queue) => queue.get_mut().push_back(waiting),
            Place::Vacant(place) => {
                place.insert(VecDeque::from([waiting]));
                tokio::spawn(Lane { shared: Arc::clone(&self.0), id, open: true }.run());
            }
        }
        answer.await.map_err(|_| CommandError::from(StoreError::Closing))?
    }

    /// The account as the log has it now.
    pub(crate) async fn load(&self, id: AccountId) -> Result<Arc<Account>, StoreError> {
        let mut state = self.0.cache.peek(id);
        state.catch_up(&self.0.store, id).await?;
        Ok(state.account)
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<AccountId, VecDeque<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of one account.
struct Lane {
    shared: Arc<Shared>,
    id: AccountId,
    /// Whether others find it.
    open: bool,
}

impl Lane {
    async fn run(mut self) {
        let mut state = self.shared.cache.take(self.id);
        while let Some(waiting) = self.next(&state) {
            self.work(&mut state, waiting).await;
        }
    }

    /// The next orders; none if nobody waits, and then the lane is gone. They all have a
    /// record or none has: an append with one record speaks for that one alone.
    fn next(&mut self, state: &Versioned) -> Option<Vec<Waiting>> {
        let mut queues = self.shared.queues();
        let queue = queues.get_mut(&self.id)?;
        let Some(first) = queue.front() else {
            self.shared.cache.put(self.id, state.clone());
            queues.remove(&self.id);
            self.open = false;
            return None;
        };
        let recorded = first.order.record.is_some();
        let (mut taken, mut left) = (Vec::new(), VecDeque::with_capacity(queue.len()));
        for waiting in queue.drain(..) {
            if taken.len() < BATCH && waiting.order.record.is_some() == recorded {
                taken.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        *queue = left;
        Some(taken)
    }

    /// Everybody who waits.
    fn all_waiting(&self) -> VecDeque<Waiting> {
        self.shared.queues().get_mut(&self.id).map(std::mem::take).unwrap_or_default()
    }
}

impl Drop for Lane {
    /// Nobody may wait in a lane whose task is gone.
    fn drop(&mut self) {
        if self.open {
            self.shared.queues().remove(&self.id);
        }
    }
}
