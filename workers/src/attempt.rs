//! One attempt at one turn: claim, ask the model, publish, finish.
//!
//! Safety lies in the claim: it is an event, and the event that ends the turn is accepted only
//! from the attempt that holds it. Everything else may be lost or come twice.

mod ending;

use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use broker::{Frame, Job, ReceivedJob, Terminal};
use chrono::{DateTime, Utc};
use commands::{Caller, CommandError, Executed};
use domain::session::{
    Prompt, Rejection, Session, SessionCommand, SessionEvent, Turn, TurnStatus, prompt_for,
};
use domain::{Actor, Causes, TurnId};
use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::provider::{ChunkStream, CompletionRequest, ProviderError};
use crate::worker::Deps;

/// Before a turn is tried again that waits for an earlier one to stop.
const SOON: Duration = Duration::from_millis(100);
/// Before a job is tried again that failed for want of a database.
const LATER: Duration = Duration::from_secs(2);
/// Before a job is tried again that failed for a reason which doesn't pass by itself.
const MUCH_LATER: Duration = Duration::from_secs(60);

/// How the model's answer ended, as the worker sees it.
enum End {
    Finished,
    Failed(ProviderError),
    Stopped,
    Abandoned,
    /// The turn has ended or is in other hands.
    Lost,
}

/// What became of a job.
enum Fate {
    /// The log says how it ended, or that it is none of ours.
    Done,
    /// Somebody shall try again.
    HandBack(Duration),
    /// The job came again and is in other hands.
    Theirs,
}

/// A turn that this attempt holds.
struct Claim {
    attempt: u32,
    started_at: DateTime<Utc>,
    turn: Turn,
    prompt: Prompt,
    request: CompletionRequest,
}

/// Works on a job and settles it.
#[tracing::instrument(name = "turn.work", skip_all, fields(turn.id = %received.job.turn_id))]
pub(crate) async fn work(deps: &Arc<Deps>, received: ReceivedJob) {
    let turn_id = received.job.turn_id;
    let stop = CancellationToken::new();
    if is_running(deps, turn_id, &stop) {
        // The turn is in work here. A job of its own is one too many; one that came again,
        // since the queue missed our signs of life, is the very job of that work.
        if received.deliveries() == 1 {
            received.done().await;
        }
        return;
    }
    let fate = see_through(deps, &received, &stop).await;
    lock(deps).remove(&turn_id);
    match fate {
        Fate::Done => received.done().await,
        Fate::HandBack(pause) => received.hand_back(pause).await,
        // Settling it here would settle it for them too.
        Fate::Theirs => {}
    }
}

fn lock(
    deps: &Deps,
) -> std::sync::MutexGuard<'_, std::collections::HashMap<TurnId, CancellationToken>> {
    deps.running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that the turn is in work here, with the token that stops it, unless it is already.
fn is_running(deps: &Deps, turn_id: TurnId, stop: &CancellationToken) -> bool {
    match lock(deps).entry(turn_id) {
        Entry::Occupied(_) => true,
        Entry::Vacant(place) => {
            place.insert(stop.clone());
            false
        }
    }
}

async fn see_through(deps: &Deps, received: &ReceivedJob, stop: &CancellationToken) -> Fate {
    let job = &received.job;
    if deps.abandon.is_cancelled() {
        return Fate::HandBack(Duration::ZERO);
    }
    let claimed = match claim(deps, received).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Fate::Done,
        Err(fate) => return fate,
    };
    let mut answer = Answer::new(claimed.attempt, deps.options.delta_interval);
    let started = Frame::Started { attempt: claimed.attempt, at: claimed.started_at };
    deps.broker.publish_frame(&job.tenant_id, job.turn_id, &started).await;
    let end = run_model(deps, received, &claimed, &mut answer, stop).await;
    if matches!(end, End::Lost) {
        return Fate::Theirs;
    }
    if let Some(frame) = answer.frame() {
        deps.broker.publish_frame(&job.tenant_id, job.turn_id, &frame).await;
    }
    match ending::closing_command(deps, job, &claimed, &answer, end) {
        Some(command) => ending::finish(deps, received, &command).await,
        None => ending::release(deps, job, claimed.attempt).await,
    }
}

/// Claims the turn. None if there is nothing to do; the claim itself may have ended the turn.
async fn claim(deps: &Deps, received: &ReceivedJob) -> Result<Option<Claim>, Fate> {
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
    Ok(Some(claim_of(deps, session, turn, started_at)))
}

/// Whether the same command may succeed a moment later.
fn may_pass(error: &CommandError) -> bool {
    match error {
        CommandError::Store(error) => error.is_unavailable(),
        CommandError::Contended => true,
        CommandError::Rejected(_) | CommandError::IdReused | CommandError::Encoding(_) => false,
    }
}

fn claim_of(deps: &Deps, session: &Session, turn: &Turn, started_at: DateTime<Utc>) -> Claim {
    let name = turn.settings.model.clone().unwrap_or_default();
    // A model that was taken from the configuration meanwhile fails at the provider's door.
    let prompt = match deps.catalog.models.get(&name) {
        Some(model) => prompt_for(session, turn, model),
        None => Prompt { system: None, messages: Vec::new(), dropped: 0 },
    };
    let request = CompletionRequest {
        model: name,
        prompt: prompt.clone(),
        settings: (*turn.settings).clone(),
    };
    Claim { attempt: turn.attempt, started_at, turn: turn.clone(), prompt, request }
}

/// Streams the answer into `answer` and onto NATS until it ends, one way or another.
async fn run_model(
    deps: &Deps,
    received: &ReceivedJob,
    claimed: &Claim,
    answer: &mut Answer,
    stop: &CancellationToken,
) -> End {
    // One future for the whole attempt: begun anew for each chunk it would never get far.
    let mut alive = std::pin::pin!(keep_alive(deps, received, claimed.attempt));
    let starting = start(deps, &claimed.request);
    let mut chunks = tokio::select! {
        started = starting => match started {
            Ok(chunks) => chunks,
            Err(error) => return End::Failed(error),
        },
        () = stop.cancelled() => return End::Stopped,
        () = deps.abandon.cancelled() => return End::Abandoned,
        end = &mut alive => return end,
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            () = deps.abandon.cancelled() => return End::Abandoned,
            end = &mut alive => return end,
            () = until(answer.due()) => {
                if let Some(frame) = answer.frame() {
                    let job = &received.job;
                    deps.broker.publish_frame(&job.tenant_id, job.turn_id, &frame).await;
                }
            }
            chunk = chunks.next() => match chunk {
                Some(Ok(chunk)) => answer.push(chunk),
                Some(Err(error)) => return End::Failed(error),
                None => return End::Finished,
            },
        }
    }
}

async fn start(deps: &Deps, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
    deps.catalog.complete(request).await
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Signs of life for the queue, and a look into the log, in case a stop signal was lost.
/// Returns only when the attempt is to end.
async fn keep_alive(deps: &Deps, received: &ReceivedJob, attempt: u32) -> End {
    let mut alive = tokio::time::interval(ReceivedJob::lease() / 3);
    alive.reset();
    loop {
        alive.tick().await;
        received.progress().await;
        let Ok(session) = deps.bus.load(received.job.session_id).await else { continue };
        match session.turn(received.job.turn_id) {
            Some(turn) if turn.status == TurnStatus::Running && turn.attempt == attempt => {
                if turn.cancel_requested_at.is_some() {
                    return End::Stopped;
                }
            }
            _ => return End::Lost,
        }
    }
}

fn execute<'a>(
    deps: &'a Deps,
    job: &'a Job,
    command: &'a SessionCommand,
) -> impl Future<Output = Result<Executed, CommandError>> + 'a {
    let caller = Caller {
        actor: Actor::system(job.tenant_id.clone()),
        command_id: None,
        correlation_id: job.turn_id.to_string(),
    };
    async move { deps.bus.execute(job.session_id, command, &caller).await }
}

/// Tells the watchers about turns that `executed` ended.
async fn announce(deps: &Deps, job: &Job, executed: &Executed) {
    for (position, event) in executed.placed() {
        let Some((turn_id, attempt, terminal)) = Terminal::of(event) else { continue };
        let frame = Frame::ended(attempt, position, terminal);
        deps.broker.publish_frame(&job.tenant_id, turn_id, &frame).await;
    }
}
