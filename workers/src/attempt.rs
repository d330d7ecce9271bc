//! One attempt at one turn: claim, ask the model, publish, finish.
//!
//! Safety lies in the claim: it is an event, and the event that ends the turn is accepted only
//! from the attempt that holds it. Everything else may be lost or come twice.

mod claim;
mod ending;
mod hold;

use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use broker::{Frame, Job, ReceivedJob, Settlement, Terminal};
use commands::{Caller, CommandError, Executed};
use domain::TurnId;
use domain::session::{SessionCommand, TurnStatus};
use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::claim::{Claim, claim};
use crate::answer::Answer;
use crate::provider::{Chunk, ChunkStream, CompletionRequest, ProviderError};
use crate::worker::Deps;

/// How soon the end of an answer follows its last words.
const AT_ITS_END: Duration = Duration::from_millis(200);
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
    /// The account has no room for more of it; the code of the reason.
    OutOfQuota(&'static str),
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
    /// The turn had ended without us.
    TooLate,
    /// The job came again and is in other hands.
    Theirs,
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
        Fate::Done | Fate::TooLate => received.done().await,
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

async fn see_through(deps: &Arc<Deps>, received: &ReceivedJob, stop: &CancellationToken) -> Fate {
    let job = &received.job;
    if deps.abandon.is_cancelled() {
        return Fate::HandBack(Duration::ZERO);
    }
    let mut claimed = match claim(deps, received).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Fate::Done,
        Err(fate) => return fate,
    };
    let longest = claimed.turn.settings.max_tokens;
    let interval = deps.options.delta_interval;
    let mut answer = Answer::new(claimed.attempt, interval, claimed.context, longest);
    let started = Frame::Started { attempt: claimed.attempt, at: claimed.started_at };
    deps.broker.publish_frame(&job.tenant_id, job.turn_id, &started).await;
    let end = run_model(deps, received, &mut claimed, &mut answer, stop).await;
    if matches!(end, End::Lost) {
        return Fate::Theirs;
    }
    if let Some(frame) = answer.frame() {
        deps.broker.publish_frame(&job.tenant_id, job.turn_id, &frame).await;
    }
    let fate = match ending::closing_command(deps, job, &claimed, &answer, end) {
        Some(command) => ending::finish(deps, received, &command).await,
        None => ending::release(deps, job, claimed.attempt).await,
    };
    if matches!(fate, Fate::TooLate) {
        ending::settle(deps, job, Some(answer.usage(&claimed.prompt))).await;
    }
    fate
}

/// Streams the answer into `answer` and onto NATS until it ends, one way or another.
async fn run_model(
    deps: &Deps,
    received: &ReceivedJob,
    claimed: &mut Claim,
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
    let hold = &mut claimed.hold;
    loop {
        let tokens = answer.estimated_tokens();
        if let Some(code) = hold.used_up(tokens) {
            return if ends(&mut chunks, answer).await {
                End::Finished
            } else {
                End::OutOfQuota(code)
            };
        }
        hold.grow(tokens);
        let (has_room, renew_at) = (hold.has_room(tokens), hold.renew_at());
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
            () = until(renew_at) => {}
            () = hold.settled() => {}
            chunk = chunks.next(), if has_room => match chunk {
                Some(Ok(chunk)) => answer.push(chunk),
                Some(Err(error)) => return End::Failed(error),
                None => return End::Finished,
            },
        }
    }
}

/// Whether the answer is at its end: a fast model's last words may come with all that is held.
async fn ends(chunks: &mut ChunkStream, answer: &mut Answer) -> bool {
    loop {
        match tokio::time::timeout(AT_ITS_END, chunks.next()).await {
            Ok(None) => return true,
            Ok(Some(Ok(last @ (Chunk::Finish(_) | Chunk::Usage(_))))) => answer.push(last),
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

async fn start(deps: &Deps, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
    let current = deps.bus.catalog().current();
    deps.providers.complete(&current.catalog, request).await
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
            // What was used of it is still to be told.
            Some(turn) if turn.status.is_terminal() => return End::Stopped,
            _ => return End::Lost,
        }
    }
}

fn execute<'a>(
    deps: &'a Deps,
    job: &'a Job,
    command: &'a SessionCommand,
) -> impl Future<Output = Result<Executed, CommandError>> + 'a {
    let caller = Caller::system(job.tenant_id.clone(), job.turn_id.to_string());
    async move { deps.bus.execute(job.session_id, command, &caller).await }
}

/// Tells the watchers about turns that `executed` ended.
async fn announce(deps: &Deps, job: &Job, executed: &Executed) {
    for (position, event) in executed.placed() {
        let Some((turn_id, attempt, terminal)) = Terminal::of(event) else { continue };
        let billed = executed.billed.iter().flat_map(|billed| &billed.events);
        let settlement = Settlement::of(turn_id, billed);
        let frame = Frame::ended(attempt, position, terminal, settlement);
        deps.broker.publish_frame(&job.tenant_id, turn_id, &frame).await;
    }
}
