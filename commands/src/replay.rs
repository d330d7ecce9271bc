//! An aggregate's events and the state they fold to, as of any position: for audit.

use cqrs_es::Aggregate;
use domain::quota::Account;
use domain::session::Session;
use domain::{AccountId, SessionId};
use eventstore::{EventStore, Position, RecordedEvent, Snapshot, StoreError, is_last_page};
use serde::Serialize;

use crate::account;

/// Events read at once.
const PAGE: i64 = 1000;

/// What happened to an aggregate, and what it comes to.
#[derive(Debug, Serialize)]
pub struct Replay<A> {
    /// Events that the state was folded from; 0 if there is no such aggregate.
    pub version: i64,
    /// What they come to.
    pub state: A,
    /// The events asked for.
    pub events: Vec<RecordedEvent>,
    /// Whether there are more.
    pub has_more: bool,
}

/// Which events to show; the state is folded from all up to `as_of`.
#[derive(Debug, Clone, Copy)]
pub struct ReplayRange {
    /// As if nothing had happened after this position.
    pub as_of: Position,
    /// Only events after this version.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// Replays a session.
///
/// # Errors
/// When its events can't be read.
pub async fn replay_session(
    store: &EventStore,
    id: SessionId,
    range: ReplayRange,
) -> Result<Replay<Session>, StoreError> {
    let begin = Snapshot { version: 0, state: Session::default() };
    Replay::begin(begin).go_on(store, &id.to_string(), range).await
}

/// Replays an account. It may have very many events: what its snapshot has folded is not folded
/// again, unless the snapshot is of a later time than is asked for.
///
/// # Errors
/// When its events can't be read.
pub async fn replay_account(
    store: &EventStore,
    id: AccountId,
    range: ReplayRange,
) -> Result<Replay<Account>, StoreError> {
    let id = id.to_string();
    let begin = snapshot(store, &id, account::SHAPE, range.as_of).await?;
    Replay::begin(begin).go_on(store, &id, range).await
}

/// The snapshot, if it can be relied on and was as it is at `as_of` or before; else the
/// beginning.
async fn snapshot<A: Aggregate>(
    store: &EventStore,
    id: &str,
    shape: &str,
    as_of: Position,
) -> Result<Snapshot<A>, StoreError> {
    if let Some(snapshot) = store.load_snapshot::<A>(A::TYPE, id, shape).await? {
        let last = store.read_stream(A::TYPE, id, snapshot.version - 1, 1).await?;
        if last.first().is_some_and(|event| event.position <= as_of) {
            return Ok(snapshot);
        }
    }
    Ok(Snapshot { version: 0, state: A::default() })
}

impl<A: Aggregate> Replay<A> {
    fn begin(Snapshot { version, state }: Snapshot<A>) -> Self {
        Self { version, state, events: Vec::new(), has_more: false }
    }

    /// Folds and shows what comes next. Between the last event to show and the first one to
    /// fold nothing is read.
    async fn go_on(
        mut self,
        store: &EventStore,
        id: &str,
        range: ReplayRange,
    ) -> Result<Self, StoreError> {
        let mut read = range.after.min(self.version);
        loop {
            let page = store.read_stream(A::TYPE, id, read, PAGE).await?;
            // The stream may go on beyond a full page, unless `as_of` lies in it.
            let ends = is_last_page(&page, PAGE)
                || page.last().is_some_and(|event| event.position > range.as_of);
            for event in page.into_iter().filter(|event| event.position <= range.as_of) {
                read = event.sequence;
                self.take(event, range)?;
            }
            if ends {
                return Ok(self);
            }
            if self.has_more {
                read = read.max(self.version);
            }
        }
    }

    fn take(&mut self, event: RecordedEvent, range: ReplayRange) -> Result<(), StoreError> {
        if event.sequence > self.version {
            self.state.apply(event.decode::<A::Event>()?);
            self.version = event.sequence;
        }
        if event.sequence > range.after {
            if self.events.len() < range.limit {
                self.events.push(event);
            } else {
                self.has_more = true;
            }
        }
        Ok(())
    }
}
