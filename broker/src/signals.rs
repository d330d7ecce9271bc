//! Hints and stop signals: core messages that speed things up and may be lost.

use bytes::Bytes;
use domain::TurnId;
use futures::StreamExt;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::subjects;

/// "The log has grown."
pub struct HeadHints {
    subscriber: async_nats::Subscriber,
}

impl HeadHints {
    /// Waits for the next hint; false when the connection was closed for good.
    pub async fn next(&mut self) -> bool {
        self.subscriber.next().await.is_some()
    }
}

/// "Stop this turn."
pub struct StopSignals {
    subscriber: async_nats::Subscriber,
}

impl StopSignals {
    /// The next turn to stop; none when the connection was closed for good.
    pub async fn next(&mut self) -> Option<TurnId> {
        loop {
            let message = self.subscriber.next().await?;
            let turn = message.subject.as_str().strip_prefix("stop.").map(str::parse);
            if let Some(Ok(turn)) = turn {
                return Some(turn);
            }
        }
    }
}

impl Broker {
    /// Tells the relay that the log has grown to `position`.
    pub async fn hint_head(&self, position: i64) {
        self.send(subjects::HEAD.to_owned(), position.to_string().into()).await;
    }

    /// Listens for such hints.
    pub async fn head_hints(&self) -> Result<HeadHints, BrokerError> {
        let subscriber = self
            .client
            .subscribe(subjects::HEAD)
            .await
            .map_err(BrokerError::unavailable("subscribe to hints"))?;
        Ok(HeadHints { subscriber })
    }

    /// Tells whichever worker holds `turn` to stop; the log already says so.
    pub async fn signal_stop(&self, turn: TurnId) {
        self.send(subjects::stop(turn), Bytes::new()).await;
    }

    /// Listens for turns to stop.
    pub async fn stop_signals(&self) -> Result<StopSignals, BrokerError> {
        let subscriber = self
            .client
            .subscribe(subjects::ALL_STOPS)
            .await
            .map_err(BrokerError::unavailable("subscribe to stop signals"))?;
        Ok(StopSignals { subscriber })
    }
}
