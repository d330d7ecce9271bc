//! The job queue: one message a turn that waits for a worker.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use domain::{SessionId, TenantId, TurnId};
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::{streams, subjects};

/// How long a job may go without a sign of life before another worker gets it.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How long one pull request waits at the server.
const PULL: Duration = Duration::from_secs(10);

/// How long an acknowledgement may wait for room in the client's queue.
const SETTLE: Duration = Duration::from_millis(200);

/// A turn to be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The session.
    pub session_id: SessionId,
    /// The turn.
    pub turn_id: TurnId,
}

impl Broker {
    /// Queues `job`. `round` tells a deliberate repeat from an accidental one.
    pub async fn publish_job(&self, pool: &str, job: &Job, round: &str) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(job).map_err(BrokerError::unavailable("encode a job"))?;
        let message = PublishMessage::build()
            .payload(body.into())
            .message_id(format!("{}:{round}", job.turn_id));
        self.jetstream
            .send_publish(subjects::job(pool), message)
            .await
            .map_err(BrokerError::unavailable("queue a job"))?
            .await
            .map_err(BrokerError::unavailable("queue a job"))?;
        Ok(())
    }

    /// Jobs that wait or are in work, in all pools.
    pub async fn standing_jobs(&self) -> Result<u64, BrokerError> {
        let doing = "count jobs";
        let stream = self
            .jetstream
            .get_stream(streams::JOBS)
            .await
            .map_err(BrokerError::unavailable(doing))?;
        Ok(stream.cached_info().state.messages)
    }

    /// The queue of `pool`; its consumer is made if missing.
    pub async fn job_queue(&self, pool: &str) -> Result<JobQueue, BrokerError> {
        let name = format!("workers-{}", subjects::token(pool));
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: subjects::job(pool),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            // Attempts are counted in the log, not here.
            max_deliver: -1,
            max_ack_pending: 100_000,
            max_waiting: 4096,
            ..pull::Config::default()
        };
        let consumer = self
            .jetstream
            .create_consumer_on_stream(config, streams::JOBS)
            .await
            .map_err(BrokerError::unavailable("open a job queue"))?;
        Ok(JobQueue { consumer, reconnects: self.reconnects() })
    }
}

/// One pool's queue, seen by one worker process.
pub struct JobQueue {
    consumer: Consumer<pull::Config>,
    reconnects: watch::Receiver<u64>,
}

impl JobQueue {
    /// Hands up to `most` jobs to `take`, one by one as they come; returns when they are used
    /// up, after ten seconds, when the connection was made anew (the server has forgotten that
    /// we wait), or at `stop`. Asking for as many as can be
    /// worked on now leaves the rest to other workers.
    pub async fn pull(
        &mut self,
        most: usize,
        stop: &CancellationToken,
        mut take: impl FnMut(ReceivedJob),
    ) -> Result<(), BrokerError> {
        let mut batch = self
            .consumer
            .batch()
            .max_messages(most)
            // No heartbeat: async-nats 0.51 goes to sleep for good on the first one, and loses
            // what comes after it. A lost connection is noticed by `reconnected` instead.
            .expires(PULL)
            .messages()
            .await
            .map_err(BrokerError::unavailable("ask for jobs"))?;
        loop {
            let message = tokio::select! {
                message = batch.next() => message,
                () = stop.cancelled() => break,
                _ = self.reconnects.changed() => break,
            };
            let Some(message) = message else { return Ok(()) };
            if let Some(received) = read(message).await? {
                take(received);
            }
        }
        // What had arrived but wasn't taken goes to other workers at once.
        while let Some(Some(message)) = batch.next().now_or_never() {
            if let Some(received) = read(message).await? {
                received.hand_back(Duration::ZERO).await;
            }
        }
        Ok(())
    }
}

async fn read(
    message: Result<Message, async_nats::Error>,
) -> Result<Option<ReceivedJob>, BrokerError> {
    let message = message.map_err(BrokerError::unavailable("receive a job"))?;
    match serde_json::from_slice(&message.payload) {
        Ok(job) => Ok(Some(ReceivedJob { job, message })),
        Err(error) => {
            tracing::error!(%error, subject = %message.subject, "an unreadable job was dropped");
            ReceivedJob::settle(&message, AckKind::Term).await;
            Ok(None)
        }
    }
}

/// A job in a worker's hands.
pub struct ReceivedJob {
    /// What to do.
    pub job: Job,
    message: Message,
}

impl ReceivedJob {
    /// How often it was handed out, this time included.
    pub fn deliveries(&self) -> u64 {
        self.message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1))
    }

    /// A sign of life; call it at least every third of [`ReceivedJob::lease`].
    pub async fn progress(&self) {
        Self::settle(&self.message, AckKind::Progress).await;
    }

    /// How long the job stays ours without a sign of life.
    pub fn lease() -> Duration {
        ACK_WAIT
    }

    /// It is done; the log says so.
    pub async fn done(self) {
        Self::settle(&self.message, AckKind::Ack).await;
    }

    /// Somebody shall have it again after `pause`.
    pub async fn hand_back(self, pause: Duration) {
        Self::settle(&self.message, AckKind::Nak(Some(pause))).await;
    }

    /// A lost acknowledgement means that the job comes again; whoever gets it sees in the log
    /// that nothing is left to do.
    async fn settle(message: &Message, kind: AckKind) {
        match tokio::time::timeout(SETTLE, message.ack_with(kind)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an acknowledgement was not sent"),
            Err(_) => tracing::debug!("an acknowledgement was not sent in time"),
        }
    }
}
