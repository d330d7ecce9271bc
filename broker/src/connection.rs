//! One connection a process, shared by all its roles.

use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::BrokerError;

/// How long a message that may be lost may wait for room in the client's queue.
const SEND: Duration = Duration::from_millis(200);

/// The connection to NATS. Clones share it.
#[derive(Clone)]
pub struct Broker {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    connects: watch::Receiver<u64>,
}

impl Broker {
    /// Connects to the server at `url`. It may come up later: the connection is made and made
    /// again in the background, for ever.
    ///
    /// # Errors
    /// When `url` can't be used.
    pub async fn connect(url: &str, name: &str) -> Result<Self, BrokerError> {
        let address: ServerAddr = url.parse().map_err(BrokerError::url)?;
        // async-nats leaves a name and password in the URL unused.
        let options = match (address.username(), address.password()) {
            (Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            (Some(token), None) => ConnectOptions::with_token(token.to_owned()),
            _ => ConnectOptions::new(),
        };
        let (connected, connects) = watch::channel(0);
        let client = options
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                Duration::from_millis(u64::try_from(tries).unwrap_or(u64::MAX).min(20) * 50)
            })
            .connection_timeout(Duration::from_secs(2))
            .request_timeout(Some(Duration::from_secs(3)))
            .ping_interval(Duration::from_secs(5))
            .subscription_capacity(16 * 1024)
            .client_capacity(8 * 1024)
            .event_callback(move |event| {
                if matches!(event, Event::Connected) {
                    connected.send_modify(|count| *count += 1);
                }
                async move { log(&event) }
            })
            .connect(address)
            .await
            .map_err(BrokerError::url)?;
        let jetstream = ContextBuilder::new()
            .timeout(Duration::from_secs(3))
            .ack_timeout(Duration::from_secs(3))
            .max_ack_inflight(8 * 1024)
            .build(client.clone());
        Ok(Self { client, jetstream, connects })
    }

    /// Whether the connection stands at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Sends a message that may be lost: nobody depends on it. While the server is away it is
    /// dropped, for what waits in the client's queue would hold everything else up.
    pub(crate) async fn send(&self, subject: String, payload: Bytes) {
        if !self.is_connected() {
            return;
        }
        match tokio::time::timeout(SEND, self.client.publish(subject, payload)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a message was not sent"),
            Err(_) => tracing::debug!("a message was not sent in time"),
        }
    }

    /// Subscribes, unless the server is away: what a client that is not connected has to send
    /// waits in its queue, which has an end.
    pub(crate) async fn subscribe(
        &self,
        subject: String,
        doing: &'static str,
    ) -> Result<async_nats::Subscriber, BrokerError> {
        if !self.is_connected() {
            return Err(BrokerError::Unavailable { doing, source: "not connected".into() });
        }
        tokio::time::timeout(SEND, self.client.subscribe(subject))
            .await
            .map_err(BrokerError::unavailable(doing))?
            .map_err(BrokerError::unavailable(doing))
    }

    /// Changes each time the connection is made anew.
    pub(crate) fn reconnects(&self) -> watch::Receiver<u64> {
        let mut connects = self.connects.clone();
        connects.mark_unchanged();
        connects
    }

    /// Waits for the connection to stand.
    pub async fn wait_until_connected(&self) {
        while !self.is_connected() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the server answers, within two seconds.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        tokio::time::timeout(Duration::from_secs(2), self.client.flush())
            .await
            .map_err(BrokerError::unavailable("ping"))?
            .map_err(BrokerError::unavailable("ping"))?;
        if self.is_connected() {
            Ok(())
        } else {
            Err(BrokerError::Unavailable { doing: "ping", source: "not connected".into() })
        }
    }

    /// Sends what is buffered and closes the connection.
    pub async fn close(&self) {
        let drain = async {
            // A drain goes on behind our back; the process may be gone before it is done.
            drop(self.client.flush().await);
            drop(self.client.drain().await);
        };
        if tokio::time::timeout(Duration::from_secs(2), drain).await.is_err() {
            tracing::warn!("the broker connection did not drain in time");
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is gone; connecting again"),
        // A subscriber sees the hole by its own numbers and fills it.
        Event::SlowConsumer(_) => tracing::debug!(%event, "a subscription overflowed"),
        other => tracing::debug!(event = %other, "NATS"),
    }
}
