//! Following the log: one runner a projection, and the feed they share.

mod apply;
mod pace;

use broker::Broker;
use eventstore::{EventStore, Position, StoreError, is_last_page};
use sqlx::PgConnection;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::batch::Target;
use crate::checkpoint::State;
use crate::event::{Batch, Event};
use crate::feed::Feed;
use crate::messages::Messages;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::runner::apply::Applied;
use crate::runner::pace::{Pace, Rivalry};
use crate::sessions::Sessions;
use crate::transactions::Transactions;
use crate::trouble::Trouble;
use crate::turns::Turns;
use crate::usage_daily::UsageDaily;

/// Events in one transaction, about.
const BATCH: usize = 2000;
/// Events read from Postgres at once.
const PAGE: i64 = 1000;

/// Follows the log with all projections until cancelled, through any outage of the database
/// or the broker. Any number of processes may do so.
pub async fn run(
    store: EventStore,
    broker: Broker,
    positions: Positions,
    cancel: CancellationToken,
) {
    positions.set_following(true);
    let feed = Feed::new(store.clone(), broker, positions.clone());
    let mut tasks = JoinSet::new();
    let context = Context { store, positions: positions.clone(), cancel: cancel.clone() };
    tasks.spawn(Runner::<Sessions>::new(context.clone(), feed.subscribe()).run());
    tasks.spawn(Runner::<Messages>::new(context.clone(), feed.subscribe()).run());
    tasks.spawn(Runner::<Turns>::new(context.clone(), feed.subscribe()).run());
    tasks.spawn(Runner::<Accounts>::new(context.clone(), feed.subscribe()).run());
    tasks.spawn(Runner::<Transactions>::new(context.clone(), feed.subscribe()).run());
    tasks.spawn(Runner::<UsageDaily>::new(context, feed.subscribe()).run());
    tasks.spawn(feed.run(cancel.clone()));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a projector has crashed; all of this process stop");
            cancel.cancel();
        }
    }
    positions.set_following(false);
}

#[derive(Clone)]
struct Context {
    store: EventStore,
    positions: Positions,
    cancel: CancellationToken,
}

/// Why a runner stops for a moment.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("the database does not serve the projection {0}")]
    Store(&'static str, #[source] StoreError),
    #[error(
        "the projection {name} is at {position}, beyond the log's end at {head}: \
         the log was replaced; rebuild the projection"
    )]
    Ahead { name: &'static str, position: Position, head: Position },
}

/// Follows the log with one projection.
struct Runner<P> {
    context: Context,
    feed: broadcast::Receiver<Batch>,
    target: Target<P>,
    pace: Pace,
    rivalry: Rivalry,
    /// Whether Postgres must be read before the feed fits again.
    behind: bool,
}

impl<P: Projection> Runner<P> {
    fn new(context: Context, feed: broadcast::Receiver<Batch>) -> Self {
        Self {
            context,
            feed,
            target: Target::live(),
            pace: Pace::default(),
            rivalry: Rivalry::default(),
            behind: true,
        }
    }

    async fn run(mut self) {
        let mut trouble = Trouble::new(P::MODEL.name());
        let cancel = self.context.cancel.clone();
        while let Err(error) = self.follow(&mut trouble).await {
            self.context.positions.set_troubled(P::MODEL, true);
            let pause = trouble.failed(&error);
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
    }

    /// Follows until cancelled (the end without an error) or until something fails.
    async fn follow(&mut self, trouble: &mut Trouble) -> Result<(), RunnerError> {
        let failed = |error| RunnerError::Store(P::MODEL.name(), error);
        let mut connection = apply::connect(self.context.store.pool()).await.map_err(failed)?;
        let mut state = self.reload(&mut connection).await?;
        self.behind = true;
        while let Some(batches) = self.gather(state.position).await.map_err(failed)? {
            let Some(events) = self.fitting(&batches, state.position) else {
                if !self.behind {
                    self.well(trouble);
                }
                continue;
            };
            let applied = apply::apply(&self.target, &mut connection, &mut state, &events).await;
            match applied.map_err(failed)? {
                Applied::Done => {
                    self.context.positions.advance(P::MODEL, state.position);
                    self.rivalry.won();
                    self.well(trouble);
                }
                Applied::Lost => {
                    let pause = self.rivalry.lost();
                    let sleep = tokio::time::sleep(pause);
                    if self.context.cancel.run_until_cancelled(sleep).await.is_none() {
                        break;
                    }
                    state = self.reload(&mut connection).await?;
                    // The feed will not bring again what was lost with the batch.
                    self.behind = true;
                }
            }
        }
        Ok(())
    }

    fn well(&self, trouble: &mut Trouble) {
        trouble.over();
        self.context.positions.set_troubled(P::MODEL, false);
    }

    async fn reload(&self, connection: &mut PgConnection) -> Result<State, RunnerError> {
        let name = P::MODEL.name();
        let failed = |error| RunnerError::Store(name, error);
        let state = apply::load(connection, P::MODEL).await.map_err(failed)?;
        let head = self.context.store.head().await.map_err(failed)?;
        if state.position > head {
            return Err(RunnerError::Ahead { name, position: state.position, head });
        }
        self.context.positions.reset(P::MODEL, state.position);
        Ok(state)
    }

    /// The next events, from Postgres while behind and else from the feed; none when cancelled.
    async fn gather(&mut self, position: Position) -> Result<Option<Vec<Batch>>, StoreError> {
        let cancel = self.context.cancel.clone();
        if cancel.is_cancelled() {
            return Ok(None);
        }
        if self.behind {
            let page = self.context.store.read_after(position, PAGE).await?;
            self.behind = !is_last_page(&page, PAGE);
            return Ok(Some(vec![Event::decode_all(page)]));
        }
        Ok(cancel.run_until_cancelled(self.listen()).await.flatten())
    }

    /// What the feed hands on: at once after a silence; under load, all that gathers in a
    /// moment, for a transaction of many events costs little more than one of few.
    async fn listen(&mut self) -> Option<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut events = 0;
        let mut received = match self.feed.recv().await {
            Ok(batch) => Ok(batch),
            Err(RecvError::Lagged(missed)) => Err(TryRecvError::Lagged(missed)),
            Err(RecvError::Closed) => return None,
        };
        self.pace.wait().await;
        loop {
            match received {
                Ok(batch) => {
                    // An empty one says that the feed begins anew, at a place of its own.
                    self.behind |= batch.is_empty();
                    events += batch.len();
                    batches.push(batch);
                }
                Err(TryRecvError::Lagged(_)) => self.behind = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
            if events >= BATCH {
                break;
            }
            received = self.feed.try_recv();
        }
        self.pace.begin(events);
        Some(batches)
    }

    /// The events after `position`, if they follow it without a hole; none if there is nothing
    /// to do. At a hole the next step reads Postgres.
    fn fitting<'a>(&mut self, batches: &'a [Batch], position: Position) -> Option<Vec<&'a Event>> {
        let new = batches.iter().flat_map(|batch| batch.iter());
        let new: Vec<&Event> = new.filter(|event| event.position > position).collect();
        let fits = new.iter().zip(position + 1..).all(|(event, next)| event.position == next);
        self.behind |= !fits;
        (fits && !new.is_empty()).then_some(new)
    }
}
