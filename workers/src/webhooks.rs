//! Webhooks: tells other systems of events, by signed requests to their URLs.
//!
//! At least once: each event's delivery is a row, written in the statement that moves the
//! endpoint's checkpoint, and it stays due until the endpoint has answered. Every relay
//! process may work at them: the checkpoint moves by compare-and-set, and who tries a delivery
//! moves its time on first. Signatures are those of Standard Webhooks.

mod collect;
mod courier;
mod payload;
mod schedule;
mod secret;
mod table;

use std::sync::Arc;

use domain::quota::QUOTA;
use domain::{Clock, TenantId};
use eventstore::EventStore;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::courier::Courier;
pub use self::secret::{InvalidSigningSecret, SigningSecret};

/// Where to tell, and of what.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// What it is called in the log.
    pub name: String,
    /// Where requests go; may hold a secret, so it is not logged.
    pub url: Url,
    /// Signs them.
    pub secret: SigningSecret,
    /// Whose events; all tenants', if none is named.
    pub tenant: Option<TenantId>,
    /// Which events.
    pub events: Vec<WebhookEvent>,
}

/// What can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookEvent {
    /// Little is left of a limit, or nothing.
    #[serde(rename = "quota.threshold")]
    QuotaThreshold,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::QuotaThreshold];

    /// The aggregate and the event in the log.
    fn recorded_as(self) -> (&'static str, &'static str) {
        match self {
            Self::QuotaThreshold => (QUOTA, "ThresholdCrossed"),
        }
    }
}

impl Webhook {
    /// What its rows are found by: a URL of another tenant is another endpoint.
    fn key(&self) -> String {
        let tenant = self.tenant.as_ref().map_or("", TenantId::as_str);
        let name = format!("{tenant}\n{}", self.url);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).simple().to_string()
    }
}

/// Delivers until `stop`; survives the loss of Postgres and of every endpoint. An endpoint that
/// is slow or away holds up no other.
pub async fn run(
    store: EventStore,
    webhooks: Vec<Webhook>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut couriers = JoinSet::new();
    for webhook in webhooks {
        match Courier::new(store.clone(), webhook, Arc::clone(&clock)) {
            Ok(courier) => drop(couriers.spawn(Arc::new(courier).run(stop.clone()))),
            Err(error) => tracing::error!(%error, "a webhook can't have an HTTP client"),
        }
    }
    // Without any, there is nothing to do but to be there until the end.
    stop.cancelled().await;
    while couriers.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
