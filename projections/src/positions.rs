//! How far the read models have come, as this process knows it: for reads that wait for their
//! own write, and for health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use eventstore::{Database, Position, StoreError};
use tokio::sync::{Mutex, watch};

use crate::read_model::ReadModel;

const FIRST_POLL: Duration = Duration::from_millis(1);
const LONGEST_POLL: Duration = Duration::from_millis(20);

/// Why a wait ended without the position.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The read models did not come so far in time.
    #[error("the read models have not reached position {position} yet")]
    Timeout {
        /// The position waited for.
        position: Position,
    },
    /// The database could not be asked.
    #[error("the read models' positions can't be read")]
    Store(#[source] StoreError),
}

/// The positions of the read models. Clones share what they know.
#[derive(Clone)]
pub struct Positions {
    known: Arc<Known>,
}

struct Known {
    pool: Database,
    seen: [AtomicI64; ReadModel::ALL.len()],
    troubled: [AtomicBool; ReadModel::ALL.len()],
    /// Wakes those who wait in this process.
    moved: watch::Sender<()>,
    /// One question to the database at a time answers all who wait.
    asking: Mutex<()>,
    head: AtomicI64,
    following: AtomicBool,
    live: AtomicBool,
}

/// What `/health` tells about this process' projectors.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Health {
    /// Whether projectors run in this process.
    pub following: bool,
    /// Whether events come from NATS, and not from Postgres alone.
    pub live: bool,
    /// The newest event that this process knows of.
    pub head: Position,
    /// Each read model.
    pub projections: Vec<ProjectionHealth>,
}

/// One read model's part of [`Health`].
#[derive(Debug, Clone, serde::Serialize)]
pub struct ProjectionHealth {
    /// Its name.
    pub name: &'static str,
    /// Its checkpoint, as last seen.
    pub position: Position,
    /// Events behind `head`.
    pub lag: Position,
    /// Whether it fails at present.
    pub troubled: bool,
}

impl Positions {
    /// Nothing is known yet.
    pub fn new(pool: Database) -> Self {
        let known = Known {
            pool,
            seen: Default::default(),
            troubled: Default::default(),
            moved: watch::Sender::new(()),
            asking: Mutex::new(()),
            head: AtomicI64::new(0),
            following: AtomicBool::new(false),
            live: AtomicBool::new(false),
        };
        Self { known: Arc::new(known) }
    }

    /// Waits until all of `models` contain `position`, at most for `deadline`.
    ///
    /// Usually the answer is known and costs nothing. Projectors of this process tell of every
    /// move; else the database is asked, at first after a millisecond and then ever less often.
    pub async fn wait_for(
        &self,
        models: &[ReadModel],
        position: Position,
        deadline: Duration,
    ) -> Result<(), WaitError> {
        if self.have_reached(models, position) {
            return Ok(());
        }
        tokio::time::timeout(deadline, self.reached(models, position))
            .await
            .map_err(|_| WaitError::Timeout { position })?
            .map_err(WaitError::Store)
    }

    /// What is known now, without asking anybody.
    pub fn health(&self) -> Health {
        let head = self.known.head.load(Ordering::Relaxed);
        let projections = ReadModel::ALL.map(|model| {
            let position = self.seen(model);
            ProjectionHealth {
                name: model.name(),
                position,
                lag: (head - position).max(0),
                troubled: self.known.troubled[model.index()].load(Ordering::Relaxed),
            }
        });
        Health {
            following: self.known.following.load(Ordering::Relaxed),
            live: self.known.live.load(Ordering::Relaxed),
            head,
            projections: projections.into(),
        }
    }

    async fn reached(&self, models: &[ReadModel], position: Position) -> Result<(), StoreError> {
        let mut moved = self.known.moved.subscribe();
        let following = self.known.following.load(Ordering::Relaxed);
        let mut pause = if following { LONGEST_POLL } else { FIRST_POLL };
        while !self.have_reached(models, position) {
            tokio::select! {
                _ = moved.changed() => {}
                () = tokio::time::sleep(pause) => {
                    self.ask(models, position).await?;
                    pause = (pause * 2).min(LONGEST_POLL);
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, models: &[ReadModel], position: Position) -> Result<(), StoreError> {
        let _one_at_a_time = self.known.asking.lock().await;
        if self.have_reached(models, position) {
            return Ok(());
        }
        let rows: Vec<(String, Position)> =
            sqlx::query_as("SELECT name, position FROM checkpoints")
                .fetch_all(&self.known.pool)
                .await
                .map_err(|error| StoreError::from_sqlx("read the checkpoints", error))?;
        for (name, position) in rows {
            if let Ok(model) = name.parse() {
                self.advance(model, position);
            }
        }
        Ok(())
    }

    fn have_reached(&self, models: &[ReadModel], position: Position) -> bool {
        models.iter().all(|model| self.seen(*model) >= position)
    }

    fn seen(&self, model: ReadModel) -> Position {
        self.known.seen[model.index()].load(Ordering::Acquire)
    }

    /// A checkpoint has moved on.
    pub(crate) fn advance(&self, model: ReadModel, position: Position) {
        let before = self.known.seen[model.index()].fetch_max(position, Ordering::AcqRel);
        if before < position {
            self.known.moved.send_replace(());
        }
    }

    /// A checkpoint as the database has it, even when that is less than what was seen: after a
    /// crash of the server the last moments may be missing.
    pub(crate) fn reset(&self, model: ReadModel, position: Position) {
        self.known.seen[model.index()].store(position, Ordering::Release);
        self.known.moved.send_replace(());
    }

    pub(crate) fn set_head(&self, head: Position) {
        self.known.head.store(head, Ordering::Relaxed);
    }

    pub(crate) fn set_live(&self, live: bool) {
        self.known.live.store(live, Ordering::Relaxed);
    }

    pub(crate) fn set_following(&self, following: bool) {
        self.known.following.store(following, Ordering::Relaxed);
    }

    pub(crate) fn set_troubled(&self, model: ReadModel, troubled: bool) {
        self.known.troubled[model.index()].store(troubled, Ordering::Relaxed);
    }
}
