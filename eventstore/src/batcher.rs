//! Group commit: one task that appends whatever is waiting in one call.
//!
//! When idle it starts at once, so a lone append isn't held back; under load the batch grows
//! while the call before it is under way. The task, not the caller, talks to the database, so
//! a caller that goes away (a closed connection) can't tear an append.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use domain::Causes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::append::{AppendCommand, Verdict};
use crate::batch::append_batch;
use crate::database::Database;
use crate::error::StoreError;
use crate::event::Position;

/// Appends that may wait; one more is refused.
const QUEUE: usize = 4096;
/// Events in one call.
const BATCH_EVENTS: usize = 1024;
/// Bytes in one call; a command with more goes alone.
const BATCH_BYTES: usize = 8 << 20;
/// How long an append is tried again while the database is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a try may take beyond that. Who waits is answered then, whatever the database does.
const LAST_TRY: Duration = Duration::from_secs(4);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

struct Waiting {
    /// What no other command of its batch may touch.
    keys: Vec<String>,
    events: usize,
    bytes: usize,
    command: AppendCommand,
    reply: oneshot::Sender<Result<Verdict, StoreError>>,
    give_up: Instant,
    /// Whether a reply was lost to which it may have been appended.
    in_doubt: bool,
}

impl Waiting {
    /// Answers that the database is unavailable; says so if the append may have happened.
    fn fail(self) {
        let source = sqlx::Error::PoolTimedOut;
        let unavailable = StoreError::Unavailable { doing: "append", source };
        let error = if self.in_doubt { StoreError::InDoubt } else { unavailable };
        // Nobody may be waiting any more.
        drop(self.reply.send(Err(error)));
    }
}

/// The handle to the batcher's task.
pub(crate) struct Batcher {
    queue: mpsc::Sender<Waiting>,
    appended: watch::Receiver<Position>,
    tasks: TaskTracker,
    closing: watch::Sender<bool>,
}

impl Batcher {
    pub(crate) fn start(database: Database) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUE);
        let (newest, appended) = watch::channel(0);
        let (closing, closed) = watch::channel(false);
        let tasks = TaskTracker::new();
        let task = Task { database, incoming, newest, backlog: VecDeque::new() };
        tasks.spawn(task.run(closed));
        tasks.close();
        Self { queue, appended, tasks, closing }
    }

    pub(crate) fn appended(&self) -> watch::Receiver<Position> {
        self.appended.clone()
    }

    pub(crate) async fn append(&self, command: AppendCommand) -> Result<Verdict, StoreError> {
        command.check()?;
        let give_up = Instant::now() + PATIENCE;
        let (reply, verdict) = oneshot::channel();
        let waiting = Waiting {
            keys: command.keys(),
            events: command.events(),
            bytes: command.bytes(),
            command,
            reply,
            give_up,
            in_doubt: false,
        };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closing,
        })?;
        match timeout_at(give_up + LAST_TRY, verdict).await {
            Ok(verdict) => verdict.map_err(|_| StoreError::Closing)?,
            Err(_) => Err(StoreError::InDoubt),
        }
    }

    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        self.tasks.wait().await;
    }
}

struct Task {
    database: Database,
    incoming: mpsc::Receiver<Waiting>,
    newest: watch::Sender<Position>,
    /// What came in but isn't in a batch yet, oldest first.
    backlog: VecDeque<Waiting>,
}

impl Task {
    async fn run(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            if self.backlog.is_empty() {
                tokio::select! {
                    biased;
                    waiting = self.incoming.recv() => match waiting {
                        Some(waiting) => self.backlog.push_back(waiting),
                        None => return,
                    },
                    _ = closing.wait_for(|closing| *closing) => self.incoming.close(),
                }
            }
            // No more than a batch can take: the rest waits in the queue, which has an end.
            while self.backlog.len() < BATCH_EVENTS
                && let Ok(waiting) = self.incoming.try_recv()
            {
                self.backlog.push_back(waiting);
            }
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.append(batch).await;
            }
        }
    }

    /// The oldest commands, as long as no two touch the same stream or share an id, until the
    /// batch is full; the rest keeps its order for the next one.
    fn next_batch(&mut self) -> Vec<Waiting> {
        let mut taken: HashSet<String> = HashSet::new();
        let mut batch = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        let mut later = Vec::new();
        while let Some(waiting) = self.backlog.pop_front() {
            if waiting.give_up <= Instant::now() {
                // It waited for others in vain: to try it now would make the next ones late, too.
                waiting.fail();
                continue;
            }
            let full =
                events + waiting.events > BATCH_EVENTS || bytes + waiting.bytes > BATCH_BYTES;
            if full && !batch.is_empty() {
                later.push(waiting);
                break;
            }
            // Also what has to wait keeps its streams: nothing may overtake it there.
            let free = waiting.keys.iter().all(|key| !taken.contains(key));
            taken.extend(waiting.keys.iter().cloned());
            if free {
                events += waiting.events;
                bytes += waiting.bytes;
                batch.push(waiting);
            } else {
                later.push(waiting);
            }
        }
        for waiting in later.into_iter().rev() {
            self.backlog.push_front(waiting);
        }
        batch
    }

    /// Tries until the database answers or the oldest command's patience is over. A lost
    /// reply is no harm: what went through answers as a duplicate of itself.
    async fn append(&mut self, mut batch: Vec<Waiting>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let commands: Vec<&AppendCommand> = batch.iter().map(|one| &one.command).collect();
            match append_batch(&self.database, &commands).await {
                Ok(verdicts) => return self.answer(batch, verdicts),
                // Too much for one statement: half of it may do.
                Err(error) if batch.len() > 1 && error.is_timeout() => {
                    let half = batch.split_off(batch.len() / 2);
                    Box::pin(self.append(batch)).await;
                    return Box::pin(self.append(half)).await;
                }
                Err(error) if error.is_unavailable() => {
                    let next_try = Instant::now() + pause;
                    let doubt = error.leaves_doubt();
                    for one in &mut batch {
                        one.in_doubt |= doubt;
                    }
                    batch = give_up(batch, next_try);
                    if batch.is_empty() {
                        tracing::warn!(error = %Causes(&error), "the database is unavailable");
                        return;
                    }
                    tokio::time::sleep_until(next_try).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                // One bad command must not fail the others: each goes alone.
                Err(_) if batch.len() > 1 => {
                    for one in batch {
                        Box::pin(self.append(vec![one])).await;
                    }
                    return;
                }
                Err(error) => {
                    if let Some(one) = batch.pop() {
                        drop(one.reply.send(Err(error)));
                    }
                    return;
                }
            }
        }
    }

    fn answer(&self, batch: Vec<Waiting>, verdicts: Vec<Verdict>) {
        let newest = verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Appended { last, .. } => Some(*last),
            _ => None,
        });
        if let Some(newest) = newest.max() {
            self.newest.send_replace(newest);
        }
        for (one, verdict) in batch.into_iter().zip(verdicts) {
            // Nobody may be waiting any more; the append stands all the same.
            drop(one.reply.send(Ok(verdict)));
        }
    }
}

/// Answers those whose patience ends before `next_try`; the others stay.
fn give_up(batch: Vec<Waiting>, next_try: Instant) -> Vec<Waiting> {
    let (out, stay): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.give_up < next_try);
    out.into_iter().for_each(Waiting::fail);
    stay
}
