//! Reading the frames of a turn that NATS still holds, in one request.
//!
//! Batched direct get, as in NATS' ADR-31: one request, many replies, closed by a message
//! with status 204 ("end of batch") or 404 ("none").

use std::time::Duration;

use domain::{TenantId, TurnId};
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::frame::Frame;
use crate::{streams, subjects};

const LAST_SEQUENCE: &str = "Nats-Sequence";
const BATCH: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(2);

impl Broker {
    /// Every frame of `turn` that is still held, oldest first.
    ///
    /// # Errors
    /// When NATS doesn't give them within two seconds.
    pub async fn stored_frames(
        &self,
        tenant: &TenantId,
        turn: TurnId,
    ) -> Result<Vec<Frame>, BrokerError> {
        let subject = subjects::delta(tenant, turn);
        let read = async {
            let mut frames = Vec::new();
            let mut from = 1;
            loop {
                let (count, last) = self.read_batch(&subject, from, &mut frames).await?;
                if count < BATCH {
                    return Ok(frames);
                }
                from = last + 1;
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .map_err(BrokerError::unavailable("read stored deltas"))?
    }

    async fn read_batch(
        &self,
        subject: &str,
        from: u64,
        frames: &mut Vec<Frame>,
    ) -> Result<(usize, u64), BrokerError> {
        let doing = "read stored deltas";
        let inbox = self.client.new_inbox();
        let mut replies = self.subscribe(inbox.clone(), doing).await?;
        let request = serde_json::json!({
            "seq": from, "next_by_subj": subject, "batch": BATCH,
        });
        let api = format!("$JS.API.DIRECT.GET.{}", streams::DELTAS);
        self.client
            .publish_with_reply(api, inbox, request.to_string().into())
            .await
            .map_err(BrokerError::unavailable(doing))?;
        let (mut count, mut last) = (0, from);
        while let Some(reply) = replies.next().await {
            if let Some(status) = reply.status {
                return match status.as_u16() {
                    204 | 404 => Ok((count, last)),
                    other => Err(BrokerError::Unavailable {
                        doing,
                        source: format!("status {other}").into(),
                    }),
                };
            }
            let sequence = reply.headers.as_ref().and_then(|headers| headers.get(LAST_SEQUENCE));
            last = sequence.and_then(|text| text.as_str().parse().ok()).unwrap_or(last);
            count += 1;
            frames.push(decode(&reply)?);
        }
        Err(BrokerError::Unavailable { doing, source: "the connection was closed".into() })
    }
}

pub(crate) fn decode(message: &async_nats::Message) -> Result<Frame, BrokerError> {
    serde_json::from_slice(&message.payload)
        .map_err(|_| BrokerError::Malformed { subject: message.subject.to_string() })
}
