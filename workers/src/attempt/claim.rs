//! Taking a turn: from here on this attempt holds it, and nobody else ends it.

use std::sync::Arc;

use broker::ReceivedJob;
use chrono::{DateTime, Utc};
use commands::CommandError;
use domain::session::{Prompt, Rejection, Session, SessionCommand, SessionEvent, Turn, prompt_for};
use domain::{Causes, TurnId};

use super::hold::Hold;
use super::{Fate, LATER, MUCH_LATER, SOON, announce, ending, execute};
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

/// Claims the turn. None if there is nothing to do; the claim itself may have ended the turn.
pub(super) async fn claim(deps: &Arc<Deps>, received: &ReceivedJob) -> Result<Option<Claim>, Fate> {
    let job = &received.job;
    let command = SessionCommand::StartAttempt {
        turn_id: job.turn_id,
        worker_id: deps.options.id.clone(),
        takeover: received.deliveries() > 1,
    };
    let executed = match execute(deps, job, &command).await {
        Ok(executed) => executed,
        Err(CommandError::Rejected(Rejection::EarlierTurnStopping)) => {
            return Err(Fate::HandBack(SOON));
        }
        Err(CommandError::Rejected(rejection)) => {
            tracing::debug!(%rejection, "nothing to do");
            // The attempt before may have been lost before it could settle the turn.
            if rejection == Rejection::TurnFinished && received.deliveries() > 1 {
                ending::settle(deps, job, None).await;
            }
            return Ok(None);
        }
        Err(error) if may_pass(&error) => {
            tracing::warn!(error = %Causes(&error), "the turn could not be claimed");
            return Err(Fate::HandBack(LATER));
        }
        Err(error) => {
            tracing::error!(error = %Causes(&error), "the turn can't be claimed");
            return Err(Fate::HandBack(MUCH_LATER));
        }
    };
    announce(deps, job, &executed).await;
    let Some(session) = &executed.session else { return Ok(None) };
    let started = executed.events.iter().find_map(|event| match event {
        SessionEvent::AttemptStarted { at, .. } => Some(*at),
        _ => None,
    });
    let Some(started_at) = started else { return Ok(None) };
    let Some(turn) = session.turn(job.turn_id).filter(|turn| !turn.status.is_terminal()) else {
        return Ok(None);
    };
    learn_of_model(deps, turn).await;
    Ok(claim_of(deps, job.turn_id, session, turn, started_at).await)
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

async fn claim_of(
    deps: &Arc<Deps>,
    turn_id: TurnId,
    session: &Session,
    turn: &Turn,
    started_at: DateTime<Utc>,
) -> Option<Claim> {
    let name = turn.settings.model.clone().unwrap_or_default();
    let current = deps.bus.catalog().current();
    // One that is not in the catalog fails at the provider's door.
    let (prompt, context) = match current.models.get(&name) {
        Some(model) => (prompt_for(session, turn, model), model.context),
        None => (Prompt { system: None, messages: Vec::new(), dropped: 0 }, 0),
    };
    let request = CompletionRequest {
        model: name,
        prompt: prompt.clone(),
        settings: (*turn.settings).clone(),
    };
    let hold = Hold::of(deps, session.owner.clone()?, turn_id, turn).await;
    let (attempt, turn) = (turn.attempt, turn.clone());
    Some(Claim { attempt, started_at, turn, prompt, request, context, hold })
}
