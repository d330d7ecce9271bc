//! One batch: plan, append, answer; and again where another process was faster.

use std::sync::Arc;
use std::time::Duration;

use domain::quota::{Account, QUOTA};
use eventstore::{AppendCommand, CommandRecord, Position, StoreError, StreamAppend, Verdict};
use tokio::time::Instant;

use super::plan::{Step, ordinals, plan};
use super::{BATCH, Lane, Order, Outcome, Waiting};
use crate::account::Versioned;
use crate::back_off::back_off;
use crate::error::CommandError;
use crate::new_event::new_event;
use crate::reply::Billed;

/// How long a batch is tried against the batches of other processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A batch at work.
struct Batch {
    waiting: Vec<Waiting>,
    /// Whether the account is known to be what the log says: only then a refusal holds.
    fresh: bool,
    /// Orders in one append; one alone after a conflict that the account didn't cause.
    most: usize,
    conflicts: u32,
    give_up: Instant,
}

/// What a round is to append, and what each of its orders gets.
struct Round {
    steps: Vec<Step>,
    /// The account after all of it.
    account: Arc<Account>,
    /// Each step's first and last event in the append.
    places: Vec<Option<(usize, usize)>>,
}

impl Lane {
    /// Carries all of `waiting` out, or tells them why not.
    pub(super) async fn work(&self, state: &mut Versioned, waiting: Vec<Waiting>) {
        let give_up = Instant::now() + PATIENCE;
        let mut batch = Batch { waiting, fresh: false, most: BATCH, conflicts: 0, give_up };
        while !batch.waiting.is_empty() {
            if let Err(error) = self.round(state, &mut batch).await {
                // It took its time. Who came meanwhile is not to wait as long for the same.
                batch.waiting.extend(self.all_waiting());
                batch.fail(&error);
            }
        }
        state.keep_snapshot(&self.shared.store, self.id);
    }

    async fn round(&self, state: &mut Versioned, batch: &mut Batch) -> Result<(), CommandError> {
        if state.version == 0 && !batch.fresh {
            self.catch_up(state, batch).await?;
        }
        let round = batch.plan(&state.account);
        let unchecked = round.steps.iter().any(Step::is_unchecked);
        // No append will check the version for these: the log has the last word.
        if unchecked && !batch.fresh && self.catch_up(state, batch).await? {
            return Ok(());
        }
        let Some(append) = self.append_of(state.version, batch, &round)? else {
            batch.answer(round, 0);
            return Ok(());
        };
        let billed = append.streams.iter().find(|stream| stream.aggregate_type == QUOTA);
        let grown = billed.map_or(0, |stream| stream.events.len());
        let verdict = match self.shared.store.append(append).await {
            Ok(verdict) => verdict,
            Err(error) if error.is_unavailable() => return Err(error.into()),
            // One bad order must not fail the others: each goes alone, and fails alone.
            Err(_) if round.appended() > 1 => {
                batch.most = 1;
                return Ok(());
            }
            Err(error) => {
                batch.answer_one(&round, Err(error.into()));
                return Ok(());
            }
        };
        match verdict {
            Verdict::Appended { first, .. } | Verdict::Duplicate { first, outcome: None, .. } => {
                state.account = Arc::clone(&round.account);
                state.version += i64::try_from(grown).unwrap_or(i64::MAX);
                batch.fresh = true;
                batch.answer(round, first);
            }
            // These verdicts are about one order: others go without a record, or alone.
            Verdict::Duplicate { outcome: Some(outcome), last, .. } => {
                let outcome = outcome.get().to_owned();
                batch.answer_one(&round, Ok(Outcome::Repeated { outcome, last }));
            }
            Verdict::Reused => batch.answer_one(&round, Err(CommandError::IdReused)),
            Verdict::Conflict => self.conflict(state, batch, &round).await?,
        }
        Ok(())
    }

    /// Somebody was faster: on the account, or on the session of one of the orders, or an
    /// order came twice. To find out which order it is, each then goes alone.
    async fn conflict(
        &self,
        state: &mut Versioned,
        batch: &mut Batch,
        round: &Round,
    ) -> Result<(), CommandError> {
        if self.catch_up(state, batch).await? {
            batch.conflicts += 1;
            if Instant::now() >= batch.give_up {
                return Err(CommandError::Contended);
            }
            back_off(batch.conflicts).await;
            // Others went on during the pause: without their events the next try is in vain.
            self.catch_up(state, batch).await?;
        } else if round.appended() > 1 {
            batch.most = 1;
        } else {
            batch.answer_one(round, Ok(Outcome::SessionMoved));
        }
        Ok(())
    }

    async fn catch_up(&self, state: &mut Versioned, batch: &mut Batch) -> Result<bool, StoreError> {
        let changed = state.catch_up(&self.shared.store, self.id).await?;
        batch.fresh = true;
        Ok(changed)
    }

    /// The append of all steps that have one: first the account's events in the order of the
    /// commands, then each session's. None if there is nothing to append.
    fn append_of(
        &self,
        version: i64,
        batch: &Batch,
        round: &Round,
    ) -> Result<Option<AppendCommand>, CommandError> {
        let (mut billed, mut sessions, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let mut tenant_id = None;
        for ((order, step), place) in batch.orders().zip(&round.steps).zip(&round.places) {
            let (Step::Append { events, .. }, Some((first, last))) = (step, *place) else {
                continue;
            };
            tenant_id = Some(order.tenant_id.to_string());
            for event in events {
                billed.push(new_event(&*self.shared.ids, event.name(), event, &order.metadata)?);
            }
            sessions.extend(order.session.clone());
            let record = |record: &CommandRecord| CommandRecord { first, last, ..record.clone() };
            records.extend(order.record.as_ref().map(record));
        }
        let account = StreamAppend {
            aggregate_type: QUOTA,
            aggregate_id: self.id.to_string(),
            expected_version: version,
            events: billed,
        };
        let account = (!account.events.is_empty()).then_some(account);
        let streams = account.into_iter().chain(sessions).collect();
        Ok(tenant_id.map(|tenant_id| AppendCommand { tenant_id, records, streams }))
    }
}

impl Round {
    /// How many orders are to be appended.
    fn appended(&self) -> usize {
        self.places.iter().flatten().count()
    }
}

impl Batch {
    /// The orders of this round.
    fn orders(&self) -> impl Iterator<Item = &Order> {
        self.waiting.iter().take(self.most).map(|waiting| &waiting.order)
    }

    fn plan(&self, account: &Account) -> Round {
        let mut account = account.clone();
        let steps = plan(&mut account, self.orders());
        let places = ordinals(&steps, self.orders());
        Round { steps, account: Arc::new(account), places }
    }

    /// Tells each order what became of it; `first` is the position of the append's first event.
    /// Who has to wait stays.
    fn answer(&mut self, round: Round, first: Position) {
        let rest = self.waiting.split_off(round.steps.len());
        let waiting = std::mem::replace(&mut self.waiting, rest);
        let mut later = Vec::new();
        for ((waiting, step), place) in waiting.into_iter().zip(round.steps).zip(round.places) {
            let outcome = match step {
                Step::Wait => {
                    later.push(waiting);
                    continue;
                }
                Step::Refuse { rejection, account } => {
                    Err(CommandError::Quota { rejection, account })
                }
                Step::Append { events, account } => {
                    let ordinal = |(_, last)| first + i64::try_from(last).unwrap_or(i64::MAX);
                    let billed = Some(Billed { events, account });
                    Ok(Outcome::Appended { last: place.map(ordinal), billed })
                }
            };
            // Nobody may be waiting any more; what was appended stands all the same.
            drop(waiting.reply.send(outcome));
        }
        self.waiting.splice(..0, later);
    }

    /// Answers the one order that was to be appended; the others are looked at again.
    fn answer_one(&mut self, round: &Round, outcome: super::Answer) {
        if let Some(index) = round.places.iter().position(Option::is_some) {
            drop(self.waiting.remove(index).reply.send(outcome));
        }
    }

    /// Tells everybody of a failure.
    fn fail(&mut self, error: &CommandError) {
        for waiting in self.waiting.drain(..) {
            drop(waiting.reply.send(Err(error.shared())));
        }
    }
}
