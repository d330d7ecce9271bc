//! One endpoint's courier: collects what is to be told, tries what is due.

use std::sync::Arc;
use std::time::Duration;

use domain::{Causes, Clock};
use eventstore::{EventStore, StoreError};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::collect::collect;
use super::table::{self, Due};
use super::{Webhook, schedule};
use crate::provider::openai::retry_after::retry_after;

/// Tries at the same time.
const ROOM: usize = 8;
/// How long a try may take.
const TRY: Duration = Duration::from_secs(10);
/// After so long a try is taken for lost, with its process.
const LEASE: Duration = Duration::from_secs(40);
/// How often it looks, whether or not it was told of something.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks at least: a busy log would wake it all the time.
const PAUSE: Duration = Duration::from_millis(200);
/// At the end, tries that are under way may go on for so long.
const GRACE: Duration = Duration::from_secs(3);
/// Between two rounds of cleaning up.
const CLEAN_UP: Duration = Duration::from_secs(3600);

/// Serves one endpoint.
pub(super) struct Courier {
    store: EventStore,
    webhook: Webhook,
    key: String,
    clock: Arc<dyn Clock>,
    client: Client,
}

/// Why a try failed, and how long the endpoint asks to be left alone.
#[derive(Debug, Default)]
struct Failure {
    text: String,
    wait: Option<Duration>,
    /// The endpoint wants none of it, ever.
    gone: bool,
}

impl Courier {
    pub(super) fn new(
        store: EventStore,
        webhook: Webhook,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TRY)
            .build()?;
        let key = webhook.key();
        Ok(Self { store, webhook, key, clock, client })
    }

    /// Serves until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut appended = self.store.appended();
        let mut tries = JoinSet::new();
        let (mut troubled, mut clean_up_at) = (false, Instant::now());
        while !stop.is_cancelled() {
            while tries.try_join_next().is_some() {}
            match self.round(&mut tries, &mut clean_up_at, &stop).await {
                Ok(()) => troubled = false,
                Err(error) if !troubled => {
                    let (error, webhook) = (Causes(&error), &self.webhook.name);
                    tracing::warn!(%error, webhook, "a webhook is interrupted");
                    troubled = true;
                }
                Err(error) => tracing::debug!(%error, "a webhook is still interrupted"),
            }
            tokio::select! {
                () = stop.cancelled() => break,
                _ = appended.changed() => {}
                Some(_) = tries.join_next() => {}
                () = sleep(POLL) => {}
            }
            stop.run_until_cancelled(sleep(PAUSE)).await;
        }
        let rest = async { while tries.join_next().await.is_some() {} };
        if timeout(GRACE, rest).await.is_err() {
            tracing::debug!(webhook = self.webhook.name, "deliveries are left for the next start");
        }
    }

    async fn round(
        self: &Arc<Self>,
        tries: &mut JoinSet<()>,
        clean_up_at: &mut Instant,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        collect(&self.store, &self.webhook, &self.key, stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        let room = ROOM.saturating_sub(tries.len());
        if room > 0 {
            let limit = i64::try_from(room).unwrap_or(1);
            for due in table::claim(self.store.pool(), &self.key, limit, LEASE).await? {
                tries.spawn(Arc::clone(self).attempt(due));
            }
        }
        if Instant::now() >= *clean_up_at {
            table::clean_up(self.store.pool()).await?;
            *clean_up_at = Instant::now() + CLEAN_UP;
        }
        Ok(())
    }

    /// One try. If what became of it can't be written down, it is tried again: twice told is
    /// better than not at all.
    async fn attempt(self: Arc<Self>, due: Due) {
        let (pool, webhook) = (self.store.pool(), self.webhook.name.as_str());
        let (delivery, attempts) = (due.delivery_id, due.attempts);
        let noted = match self.send(&due).await {
            Ok(()) => {
                tracing::debug!(webhook, %delivery, attempts, "delivered");
                table::delivered(pool, &due).await
            }
            Err(failure) => {
                let wait = schedule::next(attempts, due.age(), failure.wait);
                let wait = wait.filter(|_| !failure.gone);
                let error = failure.text.as_str();
                match wait {
                    Some(wait) => {
                        tracing::info!(webhook, %delivery, attempts, error, ?wait, "not delivered");
                    }
                    None => {
                        tracing::warn!(webhook, %delivery, attempts, error, "delivery given up");
                    }
                }
                table::failed(pool, &due, wait, error).await
            }
        };
        if let Err(error) = noted {
            let error = Causes(&error);
            tracing::warn!(webhook, %delivery, %error, "what became of a delivery was not noted");
        }
    }

    async fn send(&self, due: &Due) -> Result<(), Failure> {
        let (id, timestamp) = (due.delivery_id.to_string(), self.clock.now().timestamp());
        let signature = self.webhook.secret.sign(&id, timestamp, &due.payload);
        let request = self
            .client
            .post(self.webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(due.payload.clone());
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(refused(response.status(), response.headers())),
            // The URL may hold a secret.
            Err(error) => {
                let text = Causes(&error.without_url()).to_string();
                Err(Failure { text, ..Failure::default() })
            }
        }
    }
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    Failure {
        text: format!("HTTP {}", status.as_u16()),
        wait: retry_after(headers),
        gone: status == StatusCode::GONE,
    }
}
