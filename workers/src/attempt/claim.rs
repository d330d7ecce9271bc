//! Taking a turn: from here on this attempt holds it, and nobody else ends it.

use std::sync::Arc;
use std::time::Duration;

use broker::Job;
use chrono::{DateTime, Utc};
use commands::{CommandError, Executed};
use domain::session::{
    LostAttempt, Prompt, Rejection, Session, SessionCommand, SessionEvent, Turn, TurnStatus,
    WORKER_LOST, prompt_for,
};
use domain::{Causes, Completion};

use super::earlier::Earlier;
use super::hold::Hold;
use super::{SOON, announce, ending, execute};
use crate::answer::Answer;
use crate::catalog::Providers;
use crate::lease::{Holder, Leases};
use crate::provider::CompletionRequest;
use crate::worker::Deps;

/// A turn that this attempt holds.
pub(super) struct Claim {
    pub(super) attempt: u32,
    pub(super) started_at: DateTime<Utc>,
    pub(super) turn: Turn,
    pub(super) prompt: Prompt,
    pub(super) request: CompletionRequest,
    /// Tokens that the model holds.
    pub(super) context: u32,
    /// Grows with the answer.
    pub(super) hold: Hold,
}

impl Claim {
    /// The attempt's answer, as far as it came.
    pub(super) fn completion(&self, deps: &Deps, answer: &Answer) -> Completion {
        answer.completion(&self.turn, &self.prompt, deps.bus.clock().now())
    }
}

/// Claims the turn. None if there is nothing to do; the claim itself may have ended the turn. An
/// error is how long to wait for an earlier turn of the session to stop.
pub(super) async fn claim(deps: &Arc<Deps>, job: &Job) -> Result<Option<Claim>, Duration> {
    let (executed, lost) = match start(deps, job, None).await {
        Err(CommandError::Rejected(Rejection::AttemptSuperseded)) => match lost(deps, job).await {
            Ok(Some((attempt, earlier))) => (start(deps, job, Some(attempt)).await, Some(earlier)),
            Ok(None) => return Ok(None),
            Err(error) => (Err(error), None),
        },
        executed => (executed, None),
    };
    match executed {
        Ok(executed) => Ok(claimed(deps, job, &executed, lost).await),
        Err(CommandError::Rejected(Rejection::EarlierTurnStopping)) => Err(SOON),
        Err(CommandError::Rejected(rejection)) => {
            tracing::debug!(%rejection, "nothing to do");
            // The attempt before may have been lost before it could settle the turn.
            if rejection == Rejection::TurnFinished && job.lost.is_some() {
                ending::settle(deps, job, None).await;
            }
            Ok(None)
        }
        // The dispatcher sees that nobody has claimed it, and comes back to it.
        Err(error) if may_pass(&error) => {
            tracing::warn!(error = %Causes(&error), "the turn could not be claimed");
            Ok(None)
        }
        Err(error) => {
            tracing::error!(error = %Causes(&error), "the turn can't be claimed");
            Ok(None)
        }
    }
}

async fn start(
    deps: &Deps,
    job: &Job,
    lost: Option<LostAttempt>,
) -> Result<Executed, CommandError> {
    let (turn_id, worker_id) = (job.turn_id, deps.options.id.clone());
    execute(deps, job, &SessionCommand::StartAttempt { turn_id, worker_id, lost }).await
}

/// The attempt that holds the turn, with what it has said, if the job says that it may be lost
/// and its worker is not alive.
async fn lost(deps: &Deps, job: &Job) -> Result<Option<(LostAttempt, Earlier)>, CommandError> {
    let session = deps.bus.load(job.session_id).await?;
    let running = session.turn(job.turn_id).filter(|turn| turn.status == TurnStatus::Running);
    let Some((turn, holder)) = running.and_then(|turn| Some((turn, turn.worker_id.as_ref()?)))
    else {
        return Ok(None);
    };
    if job.lost != Some(turn.attempt) {
        return Ok(None);
    }
    // This worker itself is not at it, or the job would not have come so far.
    if *holder != deps.options.id {
        let leases = Leases::read(deps.store.pool()).await?;
        if leases.holder(holder, job.turn_id) == Holder::Alive {
            return Ok(None);
        }
    }
    learn_of_model(deps, turn).await;
    let (prompt, context) = prompt_of(deps, &session, turn);
    let earlier = Earlier::of(deps, job, turn.attempt, context).await;
    let lost = LostAttempt {
        attempt: turn.attempt,
        reached: earlier.reached(),
        // It may have said more by now than is known here.
        partial: Completion {
            stopped_by: Some(WORKER_LOST.to_owned()),
            ..earlier.answer.completion(turn, &prompt, deps.bus.clock().now())
        },
    };
    Ok(Some((lost, earlier)))
}

/// What the claim has brought, if it has brought the turn.
async fn claimed(
    deps: &Arc<Deps>,
    job: &Job,
    executed: &Executed,
    lost: Option<Earlier>,
) -> Option<Claim> {
    announce(deps, job, executed).await;
    let session = executed.session.as_ref()?;
    let started_at = executed.events.iter().find_map(|event| match event {
        SessionEvent::AttemptStarted { at, .. } => Some(*at),
        _ => None,
    })?;
    let turn = session.turn(job.turn_id).filter(|turn| !turn.status.is_terminal())?;
    learn_of_model(deps, turn).await;
    let (prompt, context) = prompt_of(deps, session, turn);
    let earlier = match lost {
        None if turn.attempt > 1 => Some(Earlier::of(deps, job, turn.attempt - 1, context).await),
        lost => lost,
    };
    let model = turn.settings.model.clone().unwrap_or_default();
    let current = deps.bus.catalog().current();
    let can_continue = Providers::can_continue(&current.catalog, &model);
    let prefix = earlier.filter(|_| can_continue).and_then(Earlier::into_prefix);
    let request = CompletionRequest {
        model,
        prompt: prompt.clone(),
        settings: (*turn.settings).clone(),
        prefix,
    };
    let hold = Hold::of(deps, session.owner.clone()?, job.turn_id, turn).await;
    let (attempt, turn) = (turn.attempt, turn.clone());
    Some(Claim { attempt, started_at, turn, prompt, request, context, hold })
}

/// Whether the same command may succeed a moment later.
fn may_pass(error: &CommandError) -> bool {
    match error {
        CommandError::Store(error) => error.is_unavailable(),
        CommandError::Contended => true,
        CommandError::Rejected(_)
        | CommandError::Quota { .. }
        | CommandError::Catalog(_)
        | CommandError::IdReused
        | CommandError::Encoding(_) => false,
    }
}

/// A model that was added a moment ago on another node may not be known here yet.
async fn learn_of_model(deps: &Deps, turn: &Turn) {
    let catalog = deps.bus.catalog();
    let name = turn.settings.model.as_deref().unwrap_or_default();
    if catalog.current().models.get(name).is_none()
        && let Err(error) = catalog.catch_up().await
    {
        tracing::warn!(error = %Causes(&error), "the catalog could not be read");
    }
}

/// What the model is asked, and how many tokens it holds.
fn prompt_of(deps: &Deps, session: &Session, turn: &Turn) -> (Prompt, u32) {
    let name = turn.settings.model.as_deref().unwrap_or_default();
    match deps.bus.catalog().current().models.get(name) {
        Some(model) => (prompt_for(session, turn, model), model.context),
        // One that is not in the catalog fails at the provider's door.
        None => (Prompt { system: None, messages: Vec::new(), dropped: 0 }, 0),
    }
}
