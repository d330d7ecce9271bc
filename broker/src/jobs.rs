//! The job queue: invitations to claim a turn. A pool has two of them: turns whose worker was
//! lost don't wait behind those that have not begun.

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

/// How long a worker may take to claim a turn before another one gets its job.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// How long one pull request waits at the server: less than a lease lasts, so that a worker which
/// is frozen asks for nothing any more by the time that its turns are dealt out again.
const PULL: Duration = Duration::from_secs(2);

/// How long an acknowledgement may wait for room in the client's queue.
const SETTLE: Duration = Duration::from_millis(200);

/// A turn to be claimed. It comes at least once; that two workers never hold the same turn is
/// the log's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The session.
    pub session_id: SessionId,
    /// The turn.
    pub turn_id: TurnId,
    /// The attempt that it may be taken from: its worker gives no sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u32>,
}

impl Broker {
    /// Queues `job`. The same `id` within a minute is the same message.
    pub async fn publish_job(
        &self,
        pool: &str,
        job: &Job,
        urgent: bool,
        id: String,
    ) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(job).map_err(BrokerError::unavailable("encode a job"))?;
        let message = PublishMessage::build().payload(body.into()).message_id(id);
        self.jetstream
            .send_publish(subjects::job(pool, urgent), message)
            .await
            .map_err(BrokerError::unavailable("queue a job"))?
            .await
            .map_err(BrokerError::unavailable("queue a job"))?;
        Ok(())
    }

    /// Jobs of `pool` that wait for a worker to take them.
    pub async fn waiting_jobs(&self, pool: &str) -> Result<u64, BrokerError> {
        let mut waiting = 0;
        for urgent in [true, false] {
            let mut consumer = self.job_consumer(pool, urgent).await?;
            let info = consumer.info().await.map_err(BrokerError::unavailable("count jobs"))?;
            waiting += info.num_pending;
        }
        Ok(waiting)
    }

    /// One of the queues of `pool`; its consumer is made if missing.
    pub async fn job_queue(&self, pool: &str, urgent: bool) -> Result<JobQueue, BrokerError> {
        let consumer = self.job_consumer(pool, urgent).await?;
        Ok(JobQueue { consumer, reconnects: self.reconnects() })
    }

    async fn job_consumer(
        &self,
        pool: &str,
        urgent: bool,
    ) -> Result<Consumer<pull::Config>, BrokerError> {
        let name = format!("{}-{}", if urgent { "urgent" } else { "next" }, subjects::token(pool));
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: subjects::job(pool, urgent),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            // Attempts are counted in the log, not here.
            max_deliver: -1,
            max_ack_pending: 100_000,
            max_waiting: 4096,
            ..pull::Config::default()
        };
        self.jetstream
            .create_consumer_on_stream(config, streams::JOBS)
            .await
            .map_err(BrokerError::unavailable("open a job queue"))
    }
}

/// One pool's queue, seen by one worker process.
pub struct JobQueue {
    consumer: Consumer<pull::Config>,
    reconnects: watch::Receiver<u64>,
}

impl JobQueue {
    /// Hands up to `most` jobs to `take`, one by one as they come; returns when they are used up,
    /// after two seconds, when the connection was made anew (the server has forgotten that we
    /// wait), or at `stop`. Asking for as many as can be worked on now leaves the rest to other
    /// workers.
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
    /// Nothing is left to do: the log says who holds the turn, or that it has ended.
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
