//! Turns and how they went. The answer's text stands in the messages and not here too.

mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::session::{SessionEvent, TurnError, TurnStatus};
use domain::{
    Completion, Cuts, FinishReason, MessageId, SessionId, TenantId, Timing, TurnId, Usage, WorkerId,
};
use eventstore::Position;

pub use queries::{TurnDetail, get_turn, next_turn, queued_turns, unfinished_turns};

use crate::projection::{Fact, FoldError, Projection, Touched, row, storable};
use crate::read_model::ReadModel;
use crate::rows::Rows;

row! {
    /// A turn. Those of a deleted session have no row; a cleared history leaves them.
    pub struct TurnRow keyed by turn_id {
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
    fn end(&mut self, status: TurnStatus, attempt: u32, at: DateTime<Utc>) {
        self.status = status;
        self.attempt = attempt;
        self.ended_at = Some(at);
    }

    fn answer(&mut self, completion: &Completion) {
        self.usage = Some(completion.usage);
        self.timing = Some(completion.timing);
        self.cuts = Some(completion.cuts.clone());
    }
}

/// The projection `turns`.
pub(crate) struct Turns;

impl Projection for Turns {
    const MODEL: ReadModel = ReadModel::Turns;
    type Row = TurnRow;

    fn touch(fact: &Fact<'_>, touched: &mut Touched) {
        match fact.event {
            SessionEvent::TurnRequested { turn_id, .. } => touched.makes(turn_id.0),
            event => {
                if let Some(turn_id) = changed(event) {
                    touched.changes(turn_id.0);
                }
            }
        }
    }

    fn apply(rows: &mut Rows<TurnRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
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
        | SessionEvent::TurnCompleted { turn_id, .. }
        | SessionEvent::TurnFailed { turn_id, .. }
        | SessionEvent::CancelRequested { turn_id, .. }
        | SessionEvent::TurnCancelled { turn_id, .. } => Some(*turn_id),
        _ => None,
    }
}

fn requested(fact: &Fact<'_>) -> Result<TurnRow, FoldError> {
    let SessionEvent::TurnRequested { turn_id, message_id, answer_id, settings, pool, at } =
        fact.event
    else {
        return Err(FoldError::Unfit("a turn must begin with TurnRequested"));
    };
    let tenant_id = TenantId::try_from(fact.tenant_id.to_owned())
        .map_err(|_| FoldError::Unfit("the tenant's id is not valid"))?;
    Ok(TurnRow {
        turn_id: *turn_id,
        session_id: fact.session_id,
        tenant_id,
        message_id: *message_id,
        answer_id: *answer_id,
        status: TurnStatus::Queued,
        attempt: 0,
        worker_id: None,
        model: settings.model.as_deref().map(storable),
        pool: storable(pool),
        finish_reason: None,
        error: None,
        usage: None,
        timing: None,
        cuts: None,
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
        SessionEvent::AttemptReleased { at, .. } => {
            row.status = TurnStatus::Queued;
            row.worker_id = None;
            row.queued_at = *at;
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
