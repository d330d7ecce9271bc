//! Deals turns out to workers, and takes them back from workers that are lost.
//!
//! It runs with the relay's leader, which shows it every event of the log. What it knows it
//! could read back at any time: the turns that have not ended, from the read models and the log,
//! and who is alive, from the leases. A job too many does no harm: the log decides who holds a
//! turn.

mod board;
mod fair_queue;
mod turn_event;

use std::collections::BTreeSet;
use std::time::Duration;

use broker::{Broker, BrokerError, Job};
use domain::{Causes, TurnId};
use eventstore::{EventStore, Position, RecordedEvent, StoreError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use self::board::{Board, Deal};
use self::turn_event::TurnEvent;
use crate::lease::{self, Leases};
use crate::relay::RelayError;

/// Turns that are loaded at once: all that run, and of those that wait some of each tenant. The
/// rest follows when there is room.
const LOADED_AT_MOST: u32 = 100_000;
/// Events read at once while catching up.
const PAGE: i64 = 1000;
/// After trouble, workers have this long to say that they are alive before they are judged.
const GRACE: Duration = Duration::from_millis(1500);

/// The turns that have not ended, and what is to be done about them.
pub(crate) struct Dispatcher {
    board: Board,
    /// Whether there are more unfinished turns than were loaded.
    more: bool,
    /// Pools that had fewer jobs than were dealt when they were last looked at.
    short: BTreeSet<String>,
    /// Up to here the log was observed.
    position: Position,
    judge_from: Instant,
    judged: Instant,
}

impl Dispatcher {
    /// Takes in what has not ended, up to `position` of the log.
    pub(crate) async fn from_read_models(
        store: &EventStore,
        position: Position,
    ) -> Result<Self, StoreError> {
        let now = Instant::now();
        let mut dispatcher = Self {
            board: Board::default(),
            more: false,
            short: BTreeSet::new(),
            position: 0,
            judge_from: now + GRACE,
            judged: now,
        };
        lease::forget_lost(store).await?;
        dispatcher.load(store, position).await?;
        Ok(dispatcher)
    }

    /// Loads the read models' turns, and what the log says of them since.
    async fn load(&mut self, store: &EventStore, position: Position) -> Result<(), StoreError> {
        let (mut known, turns) =
            projections::unfinished_turns(store.pool(), LOADED_AT_MOST).await?;
        self.more = turns.len() >= usize::try_from(LOADED_AT_MOST).unwrap_or(usize::MAX);
        let now = Instant::now();
        for turn in turns {
            let job = Job {
                tenant_id: turn.tenant_id,
                session_id: turn.session_id,
                turn_id: turn.turn_id,
                lost: None,
            };
            self.board.add(job, &turn.pool, turn.attempt, turn.worker_id, now);
        }
        while known < position {
            let page = store.read_after(known, PAGE).await?;
            let Some(last) = page.last() else { break };
            known = last.position;
            for event in &page {
                self.observe(event);
            }
        }
        self.position = self.position.max(position);
        Ok(())
    }

    /// Takes in what the log says next.
    pub(crate) fn observe(&mut self, event: &RecordedEvent) {
        self.position = self.position.max(event.position);
        let Some(event) = TurnEvent::of(event) else { return };
        self.board.observe(event, Instant::now());
    }

    /// Queues the jobs that it is time for.
    pub(crate) async fn deal(&mut self, broker: &Broker) {
        let deals = self.board.deal(Instant::now());
        let mut queued: FuturesUnordered<_> =
            deals.into_iter().map(|deal| queue(broker, deal)).collect();
        let mut troubled = false;
        while let Some((turn_id, result)) = queued.next().await {
            let Err(error) = result else { continue };
            self.board.not_dealt(turn_id, Instant::now());
            if !troubled {
                tracing::warn!(error = %Causes(&error), "turns could not be queued yet");
                troubled = true;
            }
        }
    }

    /// Whether [`Dispatcher::deal`] has something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        self.board.has_work(Instant::now())
    }

    /// Takes turns from workers that are lost, and deals those again whose jobs are.
    pub(crate) async fn look_after(
        &mut self,
        store: &EventStore,
        broker: &Broker,
    ) -> Result<(), RelayError> {
        if self.board.has_running() {
            let leases = Leases::read(store.pool()).await?;
            self.judge(&leases);
        } else {
            self.judged = Instant::now();
        }
        for pool in self.board.overdue(Instant::now()) {
            self.deal_again(store, broker, &pool).await?;
        }
        if self.more && self.board.len() < usize::try_from(LOADED_AT_MOST / 2).unwrap_or(0) {
            self.load(store, self.position).await?;
        }
        Ok(())
    }

    /// What held us up has probably held the workers up too: nobody is judged right after.
    fn judge(&mut self, leases: &Leases) {
        let now = Instant::now();
        if now - self.judged > GRACE {
            self.judge_from = now + GRACE;
        }
        self.judged = now;
        if now >= self.judge_from {
            let lost = self.board.judge(leases, now);
            if lost > 0 {
                tracing::warn!(turns = lost, "workers were lost; their turns are taken up again");
            }
        }
    }

    /// As many jobs as were dealt: they wait because the workers are busy. Otherwise the queue
    /// was wiped, or a worker has taken a job and died; unless it is only just taking it, so a
    /// second look decides.
    async fn deal_again(
        &mut self,
        store: &EventStore,
        broker: &Broker,
        pool: &str,
    ) -> Result<(), RelayError> {
        let waiting = usize::try_from(broker.waiting_jobs(pool).await?).unwrap_or(usize::MAX);
        let missing = self.board.standing(pool).saturating_sub(waiting);
        if missing == 0 {
            self.short.remove(pool);
            return Ok(());
        }
        if self.short.insert(pool.to_owned()) {
            return Ok(());
        }
        let overdue = self.board.deal_again(pool, missing, Instant::now());
        for turn_id in projections::ended_turns(store.pool(), &overdue).await? {
            self.board.forget(turn_id);
        }
        tracing::debug!(turns = overdue.len(), pool, "turns are dealt again");
        Ok(())
    }
}

async fn queue(broker: &Broker, deal: Deal) -> (TurnId, Result<(), BrokerError>) {
    let turn_id = deal.job.turn_id;
    (turn_id, broker.publish_job(&deal.pool, &deal.job, deal.urgent, deal.id).await)
}
