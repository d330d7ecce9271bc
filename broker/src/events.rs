//! The log's events on NATS: published by the relay in order, read by projectors.

use std::future::IntoFuture;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::{streams, subjects};

const POSITION: &str = "Colloquy-Position";
const PREVIOUS: &str = "Colloquy-Previous";
const EPOCH: &str = "Colloquy-Epoch";

/// Larger events go without their body; readers fetch them from Postgres.
const MAX_BODY: usize = 512 * 1024;

/// An event as it came: numbers first, so that a reader can tell whether it fits before it
/// decodes anything.
#[derive(Debug, Clone)]
pub struct EventMessage {
    /// Its place in the log.
    pub position: i64,
    /// The place of the event published before it.
    pub previous: i64,
    /// The log it belongs to.
    pub epoch: String,
    /// The recorded event, JSON; empty where it was too large to carry.
    pub payload: Bytes,
}

/// The events as the relay publishes them, from now on. Missed ones are not repeated: a
/// reader sees the hole and reads Postgres.
pub struct EventFeed {
    subscriber: async_nats::Subscriber,
}

impl EventFeed {
    /// The next event; none when the connection was closed for good.
    pub async fn next(&mut self) -> Option<EventMessage> {
        loop {
            let message = self.subscriber.next().await?;
            match read(&message) {
                Some(event) => return Some(event),
                None => tracing::warn!(subject = %message.subject, "a foreign message was ignored"),
            }
        }
    }
}

fn read(message: &async_nats::Message) -> Option<EventMessage> {
    let headers = message.headers.as_ref()?;
    let number = |name: &str| headers.get(name)?.as_str().parse::<i64>().ok();
    Some(EventMessage {
        position: number(POSITION)?,
        previous: number(PREVIOUS)?,
        epoch: headers.get(EPOCH)?.as_str().to_owned(),
        payload: message.payload.clone(),
    })
}

/// Where the `EVENTS` stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastPublished {
    /// The stream's last sequence (NATS' own numbering).
    pub sequence: u64,
    /// The log position and epoch of its last message; none in an empty stream.
    pub event: Option<(i64, String)>,
}

impl Broker {
    /// Subscribes to all events.
    pub async fn subscribe_events(&self) -> Result<EventFeed, BrokerError> {
        self.subscribe_to(subjects::ALL_EVENTS.to_owned()).await
    }

    /// Subscribes to the events of one aggregate.
    pub async fn subscribe_aggregate(
        &self,
        tenant: &str,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<EventFeed, BrokerError> {
        self.subscribe_to(subjects::event(tenant, aggregate_type, aggregate_id)).await
    }

    async fn subscribe_to(&self, subject: String) -> Result<EventFeed, BrokerError> {
        let subscriber = self.subscribe(subject, "subscribe to events").await?;
        Ok(EventFeed { subscriber })
    }

    /// Where the `EVENTS` stream stands now.
    pub async fn last_published(&self) -> Result<LastPublished, BrokerError> {
        let unavailable = "read the event stream's end";
        let mut stream = self
            .jetstream
            .get_stream(streams::EVENTS)
            .await
            .map_err(BrokerError::unavailable(unavailable))?;
        let state =
            stream.info().await.map_err(BrokerError::unavailable(unavailable))?.state.clone();
        if state.messages == 0 {
            return Ok(LastPublished { sequence: state.last_sequence, event: None });
        }
        let message = stream
            .get_raw_message(state.last_sequence)
            .await
            .map_err(BrokerError::unavailable(unavailable))?;
        let header = |name| message.headers.get(name).map(|value| value.as_str().to_owned());
        let position = header(POSITION).and_then(|text| text.parse().ok());
        Ok(LastPublished { sequence: state.last_sequence, event: position.zip(header(EPOCH)) })
    }

    /// Empties the `EVENTS` stream: it holds another log's events.
    pub async fn purge_events(&self) -> Result<(), BrokerError> {
        let stream = self
            .jetstream
            .get_stream(streams::EVENTS)
            .await
            .map_err(BrokerError::unavailable("purge the event stream"))?;
        stream.purge().await.map_err(BrokerError::unavailable("purge the event stream"))?;
        Ok(())
    }
}

/// Publishes events in order, many under way at once, fenced by the stream's last sequence:
/// of two publishers one is told [`BrokerError::Superseded`].
pub struct EventPublisher {
    broker: Broker,
    epoch: String,
    sequence: u64,
    previous: i64,
    pending: Vec<async_nats::jetstream::context::PublishAckFuture>,
}

impl EventPublisher {
    /// A publisher that goes on after `last`.
    pub fn new(broker: Broker, epoch: String, last: &LastPublished, previous: i64) -> Self {
        Self { broker, epoch, sequence: last.sequence, previous, pending: Vec::new() }
    }

    /// Sends one event; [`EventPublisher::confirm`] tells whether it arrived.
    pub async fn publish(
        &mut self,
        position: i64,
        tenant: &str,
        aggregate: (&str, &str),
        body: Vec<u8>,
    ) -> Result<(), BrokerError> {
        let mut headers = HeaderMap::new();
        headers.insert(POSITION, position.to_string());
        headers.insert(PREVIOUS, self.previous.to_string());
        headers.insert(EPOCH, self.epoch.as_str());
        let body = if body.len() > MAX_BODY { Bytes::new() } else { Bytes::from(body) };
        let message = PublishMessage::build()
            .headers(headers)
            .payload(body)
            .expected_last_sequence(self.sequence);
        let subject = subjects::event(tenant, aggregate.0, aggregate.1);
        let ack = self
            .broker
            .jetstream
            .send_publish(subject, message)
            .await
            .map_err(BrokerError::unavailable("publish an event"))?;
        self.pending.push(ack);
        self.sequence += 1;
        self.previous = position;
        Ok(())
    }

    /// Waits until everything sent so far is in the stream.
    pub async fn confirm(&mut self) -> Result<(), BrokerError> {
        for ack in std::mem::take(&mut self.pending) {
            ack.into_future().await.map_err(|error| match error.kind() {
                PublishErrorKind::WrongLastSequence => BrokerError::Superseded,
                _ => BrokerError::Unavailable { doing: "publish an event", source: error.into() },
            })?;
        }
        Ok(())
    }
}
