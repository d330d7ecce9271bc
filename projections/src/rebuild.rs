//! Building a read model anew: into a table beside the old one, which serves readers until the
//! new one takes its place in one transaction.
//!
//! Followers go on meanwhile; the checkpoint's generation tells them of the change. A rebuild
//! that is killed leaves a table which the next one drops.

mod swap;

use eventstore::{EventStore, Position, StoreError, within};
use sqlx::{Connection, PgConnection};

use crate::accounts::Accounts;
use crate::batch::Target;
use crate::deadline::REBUILD;
use crate::event::Event;
use crate::messages::Messages;
use crate::parked::ParkedStreams;
use crate::projection::Projection;
use crate::read_model::ReadModel;
use crate::sessions::Sessions;
use crate::transactions::Transactions;
use crate::turns::Turns;
use crate::usage_daily::UsageDaily;

/// Events in one transaction.
const PAGE: i64 = 5000;
/// The advisory locks of rebuilds: this and the read model's number.
const LOCK: i32 = 7_245_873;

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the read model stands now.
    pub position: Position,
    /// Events that could not be taken in.
    pub parked: u64,
}

/// Why a rebuild did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another one is under way.
    #[error("the projection {0} is being rebuilt already")]
    AlreadyRunning(ReadModel),
    /// The database failed; the old read model still serves.
    #[error("the projection {0} could not be rebuilt")]
    Store(ReadModel, #[source] StoreError),
}

/// Told how many events are done and how many there are.
type Progress<'a> = &'a mut (dyn FnMut(Position, Position) + Send);

/// Builds `model` anew from the whole log, parked streams included. `progress` is told how many
/// events are done and how many there are.
pub async fn rebuild(
    store: &EventStore,
    model: ReadModel,
    mut progress: impl FnMut(Position, Position) + Send,
) -> Result<Rebuilt, RebuildError> {
    let rebuilt = match model {
        ReadModel::Sessions => run::<Sessions>(store, &mut progress).await,
        ReadModel::Messages => run::<Messages>(store, &mut progress).await,
        ReadModel::Turns => run::<Turns>(store, &mut progress).await,
        ReadModel::Accounts => run::<Accounts>(store, &mut progress).await,
        ReadModel::Transactions => run::<Transactions>(store, &mut progress).await,
        ReadModel::UsageDaily => run::<UsageDaily>(store, &mut progress).await,
    };
    rebuilt
        .map_err(|error| RebuildError::Store(model, error))?
        .ok_or(RebuildError::AlreadyRunning(model))
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::from_sqlx("rebuild a read model", error)
}

/// None when another one is under way.
async fn run<P: Projection>(
    store: &EventStore,
    progress: Progress<'_>,
) -> Result<Option<Rebuilt>, StoreError> {
    // A connection of its own: it holds the lock, which ends with it.
    let lease = store.pool().acquire().await.map_err(failed)?;
    let mut connection = lease.detach().map_err(failed)?;
    if !swap::prepare(&mut connection, LOCK, P::MODEL).await.map_err(failed)? {
        return Ok(None);
    }
    let mut work = Rebuild::<P> {
        store,
        target: Target::rebuild(),
        streams: ParkedStreams::new(),
        position: 0,
        parked: 0,
        progress,
    };
    work.whole(&mut connection).await?;
    let rebuilt = Rebuilt { position: work.position, parked: work.parked };
    // The lock would be let go without this too, only later.
    let _ = connection.close().await;
    Ok(Some(rebuilt))
}

struct Rebuild<'a, P> {
    store: &'a EventStore,
    target: Target<P>,
    streams: ParkedStreams,
    position: Position,
    parked: u64,
    progress: Progress<'a>,
}

impl<P: Projection> Rebuild<'_, P> {
    async fn whole(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        // Followers are at work meanwhile: go round until what is left is short.
        let mut head = self.store.head().await?;
        (self.progress)(0, head);
        while head - self.position > PAGE {
            self.fold_to(connection, head).await?;
            head = self.store.head().await?;
        }
        swap::analyze(connection, P::MODEL).await.map_err(failed)?;
        // Short by now, and limited by the database: followers wait meanwhile.
        self.finish(connection).await
    }

    /// Folds up to `head`, a page a transaction.
    async fn fold_to(
        &mut self,
        connection: &mut PgConnection,
        head: Position,
    ) -> Result<(), StoreError> {
        let mut page = read(self.store, self.position, head).await?;
        while let Some(last) = page.last().map(|event| event.position) {
            // The next page is read while this one is written.
            let store = self.store;
            let (written, next) = tokio::join!(
                within(REBUILD, self.transact(connection, &page)),
                read(store, last, head)
            );
            written.map_err(failed)?;
            self.advance(last, head);
            page = next?;
        }
        Ok(())
    }

    async fn transact(
        &mut self,
        connection: &mut PgConnection,
        page: &[Event],
    ) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
        self.fold(&mut transaction, page).await?;
        transaction.commit().await
    }

    /// Stops the followers, folds the rest, and puts the new table in the old one's place.
    async fn finish(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let mut transaction = connection.begin().await.map_err(failed)?;
        swap::stop_followers(&mut transaction, P::MODEL).await.map_err(failed)?;
        let head = self.store.head().await?;
        while self.position < head {
            let page = read(self.store, self.position, head).await?;
            self.fold(&mut transaction, &page).await.map_err(failed)?;
            self.advance(page.last().map_or(head, |event| event.position), head);
        }
        swap::replace(&mut transaction, P::MODEL, self.position).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn fold(
        &mut self,
        connection: &mut PgConnection,
        page: &[Event],
    ) -> Result<(), sqlx::Error> {
        let events: Vec<&Event> = page.iter().collect();
        let parked = self.target.fold_carefully(connection, &events, &self.streams).await?;
        self.parked += parked.len() as u64;
        for event in parked {
            event.report(P::MODEL.name());
            self.streams.insert(event.stream);
        }
        Ok(())
    }

    fn advance(&mut self, position: Position, head: Position) {
        self.position = position;
        (self.progress)(position, head);
    }
}

/// Events after `after` up to `head`, a page at most.
async fn read(
    store: &EventStore,
    after: Position,
    head: Position,
) -> Result<Vec<Event>, StoreError> {
    let limit = (head - after).clamp(0, PAGE);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let events = store.read_after(after, limit).await?;
    Ok(events.into_iter().map(Event::decode).collect())
}
