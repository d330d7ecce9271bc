//! Every turn that has not ended: whether it waits, was dealt out, or is in work. Pure: events,
//! leases and the time come in, jobs go out.

mod entry;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use broker::Job;
use domain::{TurnId, WorkerId};
use tokio::time::Instant;

use self::entry::{Entry, State, patience, pause_after};
use super::fair_queue::FairQueue;
use super::turn_event::TurnEvent;
use crate::lease::Leases;

/// Jobs of a pool that stand in the queue before a worker takes them. Few, for the queue knows
/// no tenants; enough that no worker waits for the next one.
const WINDOW: usize = 32;
/// After so many deals a job doesn't count for the window: there is something about its turn.
const ODD: u32 = 3;
/// Before a job is queued that the queue would not take.
const RETRY: Duration = Duration::from_secs(1);

/// A job to be queued.
#[derive(Debug)]
pub(super) struct Deal {
    pub(super) pool: String,
    pub(super) job: Job,
    pub(super) urgent: bool,
    /// The same for the same deal by another leader.
    pub(super) id: String,
}

/// The turns that have not ended.
#[derive(Default)]
pub(super) struct Board {
    turns: HashMap<TurnId, Entry>,
    queues: HashMap<String, FairQueue>,
    /// How many jobs stand, by pool.
    dealt: HashMap<String, usize>,
    paused: BinaryHeap<Reverse<(Instant, TurnId)>>,
    running: usize,
}

impl Board {
    /// Takes a turn in that is not known yet.
    pub(super) fn add(
        &mut self,
        job: Job,
        pool: &str,
        attempt: u32,
        worker_id: Option<WorkerId>,
        now: Instant,
    ) {
        let turn_id = job.turn_id;
        if self.turns.contains_key(&turn_id) {
            return;
        }
        let runs = worker_id.is_some();
        let (pool, urgent) = (pool.to_owned(), attempt > 0);
        let state = State::Waiting;
        let entry = Entry { job, pool, attempt, worker_id, urgent, deals: 0, ended: false, state };
        self.turns.insert(turn_id, entry);
        if runs {
            self.set(turn_id, State::Running { doubt: None });
        } else {
            self.wait(turn_id, now);
        }
    }

    pub(super) fn observe(&mut self, event: TurnEvent, now: Instant) {
        match event {
            TurnEvent::Requested { job, pool } => self.add(job, &pool, 0, None, now),
            TurnEvent::Started { turn_id, attempt, worker_id } => {
                if let Some(entry) = self.turns.get_mut(&turn_id) {
                    (entry.attempt, entry.deals, entry.job.lost) = (attempt, 0, None);
                    (entry.worker_id, entry.urgent) = (Some(worker_id), true);
                }
                self.set(turn_id, State::Running { doubt: None });
            }
            TurnEvent::Released(turn_id) => self.given_back(turn_id, |_| now),
            TurnEvent::Abandoned(turn_id) => {
                self.given_back(turn_id, |attempt| now + pause_after(attempt));
            }
            TurnEvent::Ended(turn_id) => self.forget(turn_id),
            TurnEvent::EndedUntold(turn_id) => match self.turns.get_mut(&turn_id) {
                Some(entry) if matches!(entry.state, State::Running { .. }) => entry.ended = true,
                _ => self.forget(turn_id),
            },
        }
    }

    fn given_back(&mut self, turn_id: TurnId, until: impl FnOnce(u32) -> Instant) {
        let Some(entry) = self.turns.get_mut(&turn_id) else { return };
        (entry.worker_id, entry.job.lost) = (None, None);
        let until = until(entry.attempt);
        self.wait(turn_id, until);
    }

    pub(super) fn forget(&mut self, turn_id: TurnId) {
        self.set(turn_id, State::Waiting);
        self.turns.remove(&turn_id);
    }

    /// The jobs to be queued now.
    pub(super) fn deal(&mut self, now: Instant) -> Vec<Deal> {
        while self.paused.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            if let Some(Reverse((due, turn_id))) = self.paused.pop() {
                self.queue(turn_id, due);
            }
        }
        let pools: Vec<String> = self.queues.keys().cloned().collect();
        pools.iter().flat_map(|pool| self.deal_in(pool, now)).collect()
    }

    fn deal_in(&mut self, pool: &str, now: Instant) -> Vec<Deal> {
        let mut deals = Vec::new();
        loop {
            let has_room = self.dealt(pool) < WINDOW;
            let next = self.queues.get_mut(pool).and_then(|queue| queue.pop(has_room));
            let Some(turn_id) = next else { break };
            let Some(entry) = self.turns.get_mut(&turn_id) else { continue };
            // It may have got another state while it stood in the queue.
            if !matches!(entry.state, State::Waiting) {
                continue;
            }
            let id = format!("{turn_id}:{}:{}", entry.attempt, entry.deals);
            entry.deals += 1;
            let (job, urgent) = (entry.job.clone(), entry.urgent);
            let counts = !urgent && entry.deals <= ODD;
            if entry.ended {
                self.forget(turn_id);
            } else {
                self.set(turn_id, State::Dealt { since: now, counts });
            }
            deals.push(Deal { pool: pool.to_owned(), job, urgent, id });
        }
        if self.queues.get(pool).is_some_and(FairQueue::is_empty) {
            self.queues.remove(pool);
        }
        deals
    }

    /// The queue would not take the job of `turn_id`.
    pub(super) fn not_dealt(&mut self, turn_id: TurnId, now: Instant) {
        self.wait(turn_id, now + RETRY);
    }

    /// Takes turns from workers that are lost; tells how many.
    pub(super) fn judge(&mut self, leases: &Leases, now: Instant) -> usize {
        let mut lost = Vec::new();
        for (turn_id, entry) in &mut self.turns {
            let State::Running { doubt } = &mut entry.state else { continue };
            let Some(worker_id) = &entry.worker_id else { continue };
            let holder = leases.holder(worker_id, *turn_id);
            if doubt.is_none_or(|(kind, _)| kind != holder) {
                *doubt = Some((holder, now));
            }
            let since = doubt.map_or(now, |(_, since)| since);
            if patience(holder).is_some_and(|patience| now - since >= patience) {
                entry.job.lost = Some(entry.attempt);
                lost.push((*turn_id, pause_after(entry.attempt), entry.ended));
            }
        }
        for (turn_id, pause, _) in &lost {
            self.wait(*turn_id, now + *pause);
        }
        lost.iter().filter(|(_, _, ended)| !ended).count()
    }

    /// Pools with jobs that nobody took for long.
    pub(super) fn overdue(&self, now: Instant) -> BTreeSet<String> {
        let overdue = self.turns.values().filter(|entry| entry.is_overdue(now));
        overdue.map(|entry| entry.pool.clone()).collect()
    }

    /// Deals up to `most` of the overdue jobs of `pool` again, the oldest first; tells whose they
    /// are. A turn that was taken from its worker goes back to it: who got the job may have found
    /// the worker alive.
    pub(super) fn deal_again(&mut self, pool: &str, most: usize, now: Instant) -> Vec<TurnId> {
        let overdue = self.turns.iter().filter(|(_, one)| one.pool == pool && one.is_overdue(now));
        let mut overdue: Vec<TurnId> = overdue.map(|(turn_id, _)| *turn_id).collect();
        overdue.sort_by_key(|turn_id| self.dealt_since(*turn_id));
        overdue.truncate(most);
        for turn_id in &overdue {
            let taken = self.turns.get_mut(turn_id).and_then(|entry| entry.job.lost.take());
            if taken.is_some() {
                self.set(*turn_id, State::Running { doubt: None });
            } else {
                self.wait(*turn_id, now);
            }
        }
        overdue
    }

    fn dealt_since(&self, turn_id: TurnId) -> Option<Instant> {
        match self.turns.get(&turn_id)?.state {
            State::Dealt { since, .. } => Some(since),
            _ => None,
        }
    }

    /// All jobs of `pool` that stand.
    pub(super) fn standing(&self, pool: &str) -> usize {
        let stand = |entry: &&Entry| matches!(entry.state, State::Dealt { .. });
        self.turns.values().filter(|entry| entry.pool == pool).filter(stand).count()
    }

    /// Jobs of `pool` that nobody has taken yet, as far as they count for the window.
    fn dealt(&self, pool: &str) -> usize {
        self.dealt.get(pool).copied().unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn has_running(&self) -> bool {
        self.running > 0
    }

    /// Whether a job can be dealt now.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        self.paused.peek().is_some_and(|Reverse((due, _))| *due <= now)
            || self.queues.iter().any(|(pool, queue)| queue.has_next(self.dealt(pool) < WINDOW))
    }

    /// Lets a turn wait until `until`, and then in its pool's queue.
    fn wait(&mut self, turn_id: TurnId, until: Instant) {
        if self.set(turn_id, State::Paused { until }) {
            self.paused.push(Reverse((until, turn_id)));
        }
    }

    /// Puts a turn whose pause ended at `due` into its pool's queue.
    fn queue(&mut self, turn_id: TurnId, due: Instant) {
        let Some(entry) = self.turns.get_mut(&turn_id) else { return };
        // It may have begun another pause since.
        if !matches!(entry.state, State::Paused { until } if until == due) {
            return;
        }
        entry.state = State::Waiting;
        let queue = self.queues.entry(entry.pool.clone()).or_default();
        if entry.urgent {
            queue.push_urgent(turn_id);
        } else {
            queue.push(&entry.job.tenant_id, turn_id);
        }
    }

    /// Sets a turn's state, and keeps the counts; false if the turn is not known.
    fn set(&mut self, turn_id: TurnId, state: State) -> bool {
        let Some(entry) = self.turns.get_mut(&turn_id) else { return false };
        let before = std::mem::replace(&mut entry.state, state);
        self.running -= usize::from(matches!(before, State::Running { .. }));
        self.running += usize::from(matches!(entry.state, State::Running { .. }));
        let dealt = self.dealt.entry(entry.pool.clone()).or_default();
        *dealt -= usize::from(matches!(before, State::Dealt { counts: true, .. }));
        *dealt += usize::from(matches!(entry.state, State::Dealt { counts: true, .. }));
        if *dealt == 0 {
            self.dealt.remove(&entry.pool);
        }
        true
    }
}

#[cfg(test)]
mod tests;
