//! One attempt at one turn: claim, ask the model, publish, finish.
//!
//! Safety lies in the claim: it is an event, and the event that ends the turn is accepted only
//! from the attempt that holds it. Everything else may be lost or come twice.

mod claim;
mod earlier;
mod ending;
mod hold;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::{Frame, Job, ReceivedJob, Settlement, Terminal};
use commands::{Caller, CommandError, Executed};
use domain::session::{SessionCommand, TurnStatus};
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use self::claim::{Claim, claim};
use crate::answer::Answer;
use crate::catalog::Answering;
use crate::in_work::Reach;
use crate::provider::{Chunk, ChunkStream, CompletionRequest, ProviderError};
use crate::worker::Deps;

/// How soon the end of an answer follows its last words.
const AT_ITS_END: Duration = Duration::from_millis(200);
/// Without being told to, an attempt looks into the log this often.
const LOOK: Duration = Duration::from_secs(5);
/// Before a turn is tried again that waits for an earlier one to stop.
const SOON: Duration = Duration::from_millis(100);

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

/// What became of an attempt.
enum Fate {
    /// Nothing is left to do here: the log says what came of it.
    Done,
    /// The turn had ended without us.
    TooLate,
}

/// Takes the turn of a job, and sees it through. With the claim the job has done its duty:
/// from then on the log and the worker's lease tell who is at the turn.
#[tracing::instrument(name = "turn.work", skip_all, fields(turn.id = %received.job.turn_id))]
pub(crate) async fn work(deps: &Arc<Deps>, received: ReceivedJob) {
    let Some(at_work) = deps.work.begin(received.job.turn_id) else {
        return received.done().await;
    };
    if deps.abandon.is_cancelled() {
        return received.hand_back(Duration::ZERO).await;
    }
    let job = received.job.clone();
    match claim(deps, &job).await {
        Ok(claimed) => {
            received.done().await;
            if let Some(claimed) = claimed {
                see_through(deps, &job, claimed, &at_work.reach).await;
            }
        }
        Err(pause) => received.hand_back(pause).await,
    }
}

async fn see_through(deps: &Arc<Deps>, job: &Job, mut claimed: Claim, reach: &Reach) {
    let longest = claimed.turn.settings.max_tokens;
    let interval = deps.options.delta_interval;
    let mut answer = Answer::new(claimed.attempt, interval, claimed.context, longest);
    let prefix = claimed.request.prefix.clone().unwrap_or_default();
    let started = Frame::Started {
        attempt: claimed.attempt,
        at: claimed.started_at,
        continued: prefix.len() as u64,
    };
    deps.broker.publish_frame(&job.tenant_id, job.turn_id, &started).await;
    answer.go_on_from(prefix);
    publish(deps, job, &mut answer).await;
    let end = run_model(deps, job, &mut claimed, &mut answer, reach).await;
    if matches!(end, End::Lost) {
        return;
    }
    publish(deps, job, &mut answer).await;
    let fate = match ending::closing_command(deps, job, &claimed, &answer, end) {
        Some(command) => ending::finish(deps, job, &command).await,
        None => {
            let partial = (answer.brought() > 0).then(|| claimed.completion(deps, &answer));
            ending::release(deps, job, claimed.attempt, partial).await
        }
    };
    if matches!(fate, Fate::TooLate) {
        ending::settle(deps, job, Some(answer.usage(&claimed.prompt))).await;
    }
}

/// Sends out all that is pending.
async fn publish(deps: &Deps, job: &Job, answer: &mut Answer) {
    while let Some(frame) = answer.frame() {
        deps.broker.publish_frame(&job.tenant_id, job.turn_id, &frame).await;
    }
}

/// Streams the answer into `answer` and onto NATS until it ends, one way or another.
async fn run_model(
    deps: &Deps,
    job: &Job,
    claimed: &mut Claim,
    answer: &mut Answer,
    reach: &Reach,
) -> End {
    // One future for the whole attempt: begun anew for each chunk it would never get far.
    let mut watch = std::pin::pin!(watch_the_log(deps, job, claimed.attempt, reach));
    let starting = start(deps, &claimed.request);
    let mut chunks = tokio::select! {
        started = starting => match started {
            Ok(Answering { provider, chunks }) => {
                tracing::debug!(provider, "the provider answers");
                chunks
            }
            Err(error) => return End::Failed(error),
        },
        () = reach.stop.cancelled() => return End::Stopped,
        () = deps.abandon.cancelled() => return End::Abandoned,
        end = &mut watch => return end,
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
            () = reach.stop.cancelled() => return counted(&mut chunks, answer, End::Stopped),
            () = deps.abandon.cancelled() => {
                return counted(&mut chunks, answer, End::Abandoned);
            }
            end = &mut watch => return counted(&mut chunks, answer, end),
            () = until(answer.due()) => publish(deps, job, answer).await,
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

/// `end`, with the provider's count of the words that were taken in last, where that came with them.
fn counted(chunks: &mut ChunkStream, answer: &mut Answer, end: End) -> End {
    if let Some(Some(Ok(count @ Chunk::Usage(_)))) = chunks.next().now_or_never() {
        answer.push(count);
    }
    end
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

async fn start(deps: &Deps, request: &CompletionRequest) -> Result<Answering, ProviderError> {
    let current = deps.bus.catalog().current();
    deps.providers.complete(&current.catalog, request).await
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Looks into the log from time to time, and when there is reason to: a stop signal may have
/// been lost, or the lease. Returns only when the attempt is to end.
async fn watch_the_log(deps: &Deps, job: &Job, attempt: u32, reach: &Reach) -> End {
    loop {
        drop(tokio::time::timeout(LOOK, reach.look.notified()).await);
        let Ok(session) = deps.bus.load(job.session_id).await else { continue };
        match session.turn(job.turn_id) {
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
