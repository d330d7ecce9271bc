//! Turns and how they went. The answer's text stands in the messages and not here too.

#[cfg(test)]
mod database_tests;
mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::quota::{QUOTA, QuotaEvent, Threshold};
use domain::session::{SESSION, SessionEvent, TurnError, TurnStatus};
use domain::{
    Completion, Credits, Cuts, FinishReason, MessageId, ReservationId, SessionId, TenantId, Timing,
    TurnId, Usage, WorkerId,
};
use eventstore::Position;
use serde::{Deserialize, Serialize};

pub use queries::{
    TurnDetail, UnfinishedTurn, ended_turns, get_turn, next_turn, unfinished_turns, waiting_turns,
};

use crate::projection::{
    AccountFact, Fact, FoldError, Projection, SessionFact, Touched, row, storable, tenant,
};
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// The code of an attempt whose worker had to stop, in good order.
const RELEASED: &str = "released";

/// An attempt that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonedAttempt {
    /// Its number.
    pub attempt: u32,
    /// Why.
    pub code: String,
    /// What it used. The user doesn't pay for it.
    pub usage: Usage,
    /// When it was given up.
    pub at: DateTime<Utc>,
}

row! {
    /// A turn. Those of a deleted session have no row; a cleared history leaves them.
    pub struct TurnRow keyed by turn_id.0 in session_id {
        /// Its id.
        pub turn_id: TurnId,
        /// Its session.
        pub session_id: SessionId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// The message it answers.
        pub message_id: MessageId,
        /// The id its answer has or will have.
        pub answer_id: MessageId,
        /// Where it is.
        pub status: TurnStatus,
        /// Attempts started so far.
        pub attempt: u32,
        /// Those that came to nothing.
        pub abandoned: Vec<AbandonedAttempt>,
        /// Who made the last one; none while the turn waits for the next.
        pub worker_id: Option<WorkerId>,
        /// The model asked for.
        pub model: Option<String>,
        /// The queue of workers that serve it.
        pub pool: String,
        /// Why the model stopped.
        pub finish_reason: Option<FinishReason>,
        /// Why it failed.
        pub error: Option<TurnError>,
        /// What it used.
        pub usage: Option<Usage>,
        /// How long it took.
        pub timing: Option<Timing>,
        /// How the answer was cut into deltas.
        pub cuts: Option<Cuts>,
        /// The code of what cut its answer short, if it wasn't the model or the user.
        pub stopped_by: Option<String>,
        /// What it cost; none before its settlement, and if nothing of its hold was used.
        pub credits: Option<Credits>,
        /// Limits of its owner's account of which its settlement left little.
        pub quota_warnings: Vec<Threshold>,
        /// When somebody asked it to stop.
        pub cancel_requested_at: Option<DateTime<Utc>>,
        /// When it was accepted.
        pub requested_at: DateTime<Utc>,
        /// Since when it waits for a worker, or did before the last one took it.
        pub queued_at: DateTime<Utc>,
        /// When the last attempt began.
        pub started_at: Option<DateTime<Utc>>,
        /// When it ended.
        pub ended_at: Option<DateTime<Utc>>,
        /// The event that asked for it.
        pub requested_position: Position,
        /// The event that last changed it.
        pub last_position: Position,
    }
}

impl TurnRow {
    fn queue(&mut self, at: DateTime<Utc>) {
        self.status = TurnStatus::Queued;
        self.worker_id = None;
        self.queued_at = at;
    }

    fn end(&mut self, status: TurnStatus, attempt: u32, at: DateTime<Utc>) {
        self.status = status;
        self.attempt = attempt;
        self.ended_at = Some(at);
    }

    fn answer(&mut self, completion: &Completion) {
        self.usage = Some(completion.usage);
        self.timing = Some(completion.timing);
        self.cuts = Some(completion.cuts.clone());
        self.stopped_by = completion.stopped_by.as_deref().map(storable);
    }
}

/// The projection `turns`.
pub(crate) struct Turns;

impl Projection for Turns {
    const MODEL: ReadModel = ReadModel::Turns;
    const STREAMS: &'static [&'static str] = &[SESSION, QUOTA];
    type Row = TurnRow;

    fn touch(fact: &Fact<'_>, touched: &mut Touched) {
        let changed = match fact {
            Fact::Session(SessionFact {
                event: SessionEvent::TurnRequested { turn_id, .. },
                ..
            }) => {
                touched.makes(turn_id.0);
                None
            }
            Fact::Session(fact) => changed(fact.event),
            Fact::Account(fact) => settled(fact.event),
        };
        if let Some(turn_id) = changed {
            touched.changes(turn_id.0);
        }
    }

    fn apply(rows: &mut Rows<TurnRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let fact = match fact {
            Fact::Session(fact) => fact,
            Fact::Account(fact) => {
                settle(rows, fact);
                return Ok(());
            }
        };
        match fact.event {
            SessionEvent::TurnRequested { .. } => rows.insert(requested(fact)?),
            SessionEvent::SessionDeleted { .. } => rows.remove_session(fact.session_id),
            event => {
                if let Some(turn_id) = changed(event) {
                    change(rows.change(turn_id.0)?, event, fact.position);
                }
            }
        }
        Ok(())
    }
}

/// The turn that `event` changes.
fn changed(event: &SessionEvent) -> Option<TurnId> {
    match event {
        SessionEvent::AttemptStarted { turn_id, .. }
        | SessionEvent::AttemptReleased { turn_id, .. }
        | SessionEvent::AttemptAbandoned { turn_id, .. }
        | SessionEvent::TurnCompleted { turn_id, .. }
        | SessionEvent::TurnFailed { turn_id, .. }
        | SessionEvent::CancelRequested { turn_id, .. }
        | SessionEvent::TurnCancelled { turn_id, .. } => Some(*turn_id),
        _ => None,
    }
}

fn requested(fact: &SessionFact<'_>) -> Result<TurnRow, FoldError> {
    let SessionEvent::TurnRequested { turn_id, message_id, answer_id, settings, pool, at } =
        fact.event
    else {
        return Err(FoldError::Unfit("a turn must begin with TurnRequested"));
    };
    Ok(TurnRow {
        turn_id: *turn_id,
        session_id: fact.session_id,
        tenant_id: tenant(fact.tenant_id)?,
        message_id: *message_id,
        answer_id: *answer_id,
        status: TurnStatus::Queued,
        attempt: 0,
        abandoned: Vec::new(),
        worker_id: None,
        model: settings.model.as_deref().map(storable),
        pool: storable(pool),
        finish_reason: None,
        error: None,
        usage: None,
        timing: None,
        cuts: None,
        stopped_by: None,
        credits: None,
        quota_warnings: Vec::new(),
        cancel_requested_at: None,
        requested_at: *at,
        queued_at: *at,
        started_at: None,
        ended_at: None,
        requested_position: fact.position,
        last_position: fact.position,
    })
}

fn change(row: &mut TurnRow, event: &SessionEvent, position: Position) {
    match event {
        SessionEvent::AttemptStarted { attempt, worker_id, at, .. } => {
            row.status = TurnStatus::Running;
            row.attempt = *attempt;
            row.worker_id = Some(worker_id.clone());
            row.started_at = Some(*at);
        }
        SessionEvent::AttemptReleased { attempt, usage, at, .. } => {
            row.queue(*at);
            if let Some(usage) = *usage {
                let (attempt, code) = (*attempt, RELEASED.to_owned());
                row.abandoned.push(AbandonedAttempt { attempt, code, usage, at: *at });
            }
        }
        SessionEvent::AttemptAbandoned { attempt, error, usage, at, .. } => {
            row.queue(*at);
            let (attempt, code, usage) = (*attempt, storable(&error.code), *usage);
            row.abandoned.push(AbandonedAttempt { attempt, code, usage, at: *at });
        }
        SessionEvent::TurnCompleted { attempt, finish_reason, completion, at, .. } => {
            row.end(TurnStatus::Completed, *attempt, *at);
            row.finish_reason = Some(*finish_reason);
            row.answer(completion);
        }
        SessionEvent::TurnFailed { attempt, error, usage, at, .. } => {
            row.end(TurnStatus::Failed, *attempt, *at);
            row.error = Some(error.clone());
            row.usage = *usage;
        }
        SessionEvent::CancelRequested { at, .. } => row.cancel_requested_at = Some(*at),
        SessionEvent::TurnCancelled { attempt, completion, at, .. } => {
            row.end(TurnStatus::Cancelled, *attempt, *at);
            if let Some(completion) = completion {
                row.answer(completion);
            }
        }
        _ => return,
    }
    row.last_position = position;
}

/// The turn that `event` settles. What names a turn without its hold is somebody's own account
/// of it, and says nothing about the turn.
fn settled(event: &QuotaEvent) -> Option<TurnId> {
    match event {
        QuotaEvent::QuotaConsumed { turn_id: Some(turn_id), reservation_id, .. } => {
            (*reservation_id == Some(ReservationId::from(*turn_id))).then_some(*turn_id)
        }
        QuotaEvent::ThresholdCrossed { turn_id, .. } => *turn_id,
        _ => None,
    }
}

/// The settlement of a turn of which there is no row, for its session is deleted, is nothing
/// to keep here; nor is that of another tenant's.
fn settle(rows: &mut Rows<TurnRow>, fact: &AccountFact<'_>) {
    let row = settled(fact.event).and_then(|turn_id| rows.find(turn_id.0));
    let Some(row) = row.filter(|row| row.tenant_id.as_str() == fact.tenant_id) else { return };
    match fact.event {
        QuotaEvent::QuotaConsumed { amount, .. } => row.credits = Some(amount.credits),
        QuotaEvent::ThresholdCrossed { threshold, .. } => {
            row.quota_warnings.push(threshold.clone());
        }
        _ => return,
    }
    row.last_position = fact.position;
}
