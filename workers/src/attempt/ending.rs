//! How an attempt ends in the log: with the turn's end, or with the turn given back.

use std::time::Duration;

use broker::{Job, Terminal};
use commands::{Caller, CommandError};
use domain::session::{Rejection, SessionCommand, TurnError};
use domain::{Causes, Completion, FinishReason, Usage, billing};
use tokio::time::Instant;

use super::claim::Claim;
use super::{End, Fate, SOON, announce, execute};
use crate::answer::{Answer, without_nul};
use crate::worker::Deps;

/// How long the end of a turn is tried to be written while Postgres is away.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long giving a turn back may take: the process is about to end.
const RELEASE: Duration = Duration::from_secs(2);

/// The command that ends the turn; none if it is to be given back.
pub(super) fn closing_command(
    deps: &Deps,
    job: &Job,
    claimed: &Claim,
    answer: &Answer,
    end: End,
) -> Option<SessionCommand> {
    let (turn_id, attempt) = (job.turn_id, claimed.attempt);
    let completion = || claimed.completion(deps, answer);
    match end {
        End::Finished => Some(SessionCommand::CompleteTurn {
            turn_id,
            attempt,
            finish_reason: answer.finish_reason(),
            completion: completion(),
        }),
        End::OutOfQuota(code) => Some(SessionCommand::CompleteTurn {
            turn_id,
            attempt,
            finish_reason: FinishReason::Length,
            completion: Completion { stopped_by: Some(code.to_owned()), ..completion() },
        }),
        End::Stopped => {
            Some(SessionCommand::ConfirmCancel { turn_id, attempt, completion: completion() })
        }
        End::Failed(error) => {
            tracing::warn!(%error, code = error.code(), "the provider failed");
            // A provider may not be able to go on from what was said: then another attempt begins
            // anew.
            let continued = claimed.request.prefix.is_some() && answer.brought() == 0;
            let worth_another = error.is_worth_another_attempt() && answer.brought() > 0;
            let (code, message) = (error.code().to_owned(), without_nul(error.message));
            let error = TurnError { code, message };
            let (reached, partial) = (answer.brought() as u64, completion());
            Some(if worth_another || continued {
                SessionCommand::AbandonAttempt { turn_id, attempt, error, reached, partial }
            } else {
                let usage = (reached > 0).then_some(partial.usage);
                SessionCommand::FailTurn { turn_id, attempt, error, usage, partial }
            })
        }
        End::Abandoned | End::Lost => None,
    }
}

/// Writes the end, as long as it takes within reason: the answer is here and paid for.
pub(super) async fn finish(deps: &Deps, job: &Job, command: &SessionCommand) -> Fate {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let written = tokio::select! {
            written = execute(deps, job, command) => written,
            // Whoever takes the turn over sees in the log whether this got through.
            () = last_chance(deps) => return Fate::Done,
        };
        match written {
            Ok(executed) => {
                announce(deps, job, &executed).await;
                return Fate::Done;
            }
            Err(CommandError::Rejected(rejection)) => return not_ours(&rejection),
            Err(error) if Instant::now() < give_up => {
                tracing::warn!(error = %Causes(&error), "the turn's end could not be written yet");
                tokio::time::sleep(SOON).await;
            }
            Err(error) => {
                tracing::error!(error = %Causes(&error), "the turn's end could not be written");
                return Fate::Done;
            }
        }
    }
}

/// Ends soon after the process was told to end at once.
async fn last_chance(deps: &Deps) {
    deps.abandon.cancelled().await;
    tokio::time::sleep(RELEASE).await;
}

/// Gives the turn back, so that this attempt doesn't count as lost and anybody may take the
/// turn at once. If the log can't be reached in time, it is taken over when the lease ends.
pub(super) async fn release(
    deps: &Deps,
    job: &Job,
    attempt: u32,
    partial: Option<Completion>,
) -> Fate {
    let turn_id = job.turn_id;
    let command = SessionCommand::ReleaseAttempt { turn_id, attempt, partial };
    let released = tokio::time::timeout(RELEASE, execute(deps, job, &command)).await;
    match released {
        Ok(Ok(executed)) => {
            announce(deps, job, &executed).await;
            if executed.events.iter().any(|event| Terminal::of(event).is_some()) {
                return Fate::TooLate;
            }
            tracing::info!(attempt, "the turn was given back");
        }
        Ok(Err(CommandError::Rejected(rejection))) => return not_ours(&rejection),
        Ok(Err(error)) => {
            tracing::warn!(error = %Causes(&error), "the turn could not be given back");
        }
        Err(_) => tracing::warn!("the turn could not be given back in time"),
    }
    Fate::Done
}

/// What is left to do for a turn that this attempt no longer holds.
fn not_ours(rejection: &Rejection) -> Fate {
    tracing::info!(%rejection, "another attempt or the user was faster");
    match rejection {
        Rejection::TurnFinished => Fate::TooLate,
        _ => Fate::Done,
    }
}

/// Settles a turn that ended without its attempt (its session was deleted, or it did not stop
/// in time): what was used until then is charged. Where the turn's end has settled it, there is
/// nothing to do.
pub(super) async fn settle(deps: &Deps, job: &Job, used: Option<Usage>) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let settled = tokio::select! {
            settled = try_to_settle(deps, job, used) => settled,
            () = last_chance(deps) => return,
        };
        match settled {
            Ok(()) => return,
            Err(error)
                if Instant::now() < give_up && !matches!(error, CommandError::Quota { .. }) =>
            {
                tokio::time::sleep(SOON).await;
            }
            // The hold expires in time.
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "an ended turn could not be settled");
                return;
            }
        }
    }
}

async fn try_to_settle(deps: &Deps, job: &Job, used: Option<Usage>) -> Result<(), CommandError> {
    let session = deps.bus.load(job.session_id).await?;
    let Some(owner) = session.owner.clone() else { return Ok(()) };
    let command = billing::settle(&session, job.turn_id, used);
    let caller = Caller::system(job.tenant_id.clone(), job.turn_id.to_string());
    deps.bus.execute_quota(&owner, vec![command], &caller).await.map(drop)
}
