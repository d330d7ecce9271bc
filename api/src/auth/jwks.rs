//! The identity provider's keys, fetched and kept.
//!
//! - A known key is used at once. When the set has grown old, it is fetched again beside the
//!   request, and goes on being used if that fails.
//! - An unknown key id makes the request wait for a fetch: the provider may have changed keys.
//!   Fetches keep a distance, so forged key ids can't be used to flood the provider.
//! - A fetch runs in a task of its own, with a deadline: a caller that goes away does not cut
//!   it off for those who wait with it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::auth::config::{AuthConfigError, JwksConfig};
use crate::auth::error::{AuthError, Unavailable};
use crate::auth::key_set::KeySet;

/// A set of some hundred keys; no provider has more.
const MAX_BYTES: usize = 256 * 1024;
/// The distance between fetches while there is no key at all: the provider may just start.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The provider could not be reached or did not answer in time.
    #[error("the key set can't be fetched")]
    Http(#[source] reqwest::Error),
    /// The provider answered with something else.
    #[error("the key set's URL answered with status {0}")]
    Status(u16),
    /// The answer goes on and on.
    #[error("the key set has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// The answer is no key set.
    #[error("the key set is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The process is shutting down.
    #[error("the fetch was broken off")]
    BrokenOff,
}

/// A provider's keys.
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    config: JwksConfig,
    keys: RwLock<Option<Arc<Fetched>>>,
    /// Held while a fetch is under way.
    last: Arc<Mutex<Option<Attempt>>>,
}

struct Fetched {
    set: KeySet,
    at: Instant,
}

struct Attempt {
    at: Instant,
    outcome: Result<(), Arc<JwksError>>,
}

impl Jwks {
    pub(super) fn new(config: JwksConfig) -> Result<Self, AuthConfigError> {
        let url = reqwest::Url::parse(&config.url).map_err(|_| AuthConfigError::InvalidUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(AuthConfigError::InvalidUrl);
        }
        if url.scheme() == "http" {
            tracing::warn!("identity provider keys are fetched without TLS");
        }
        let http = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(AuthConfigError::Http)?;
        let (keys, last) = (RwLock::new(None), Arc::new(Mutex::new(None)));
        Ok(Self(Arc::new(Inner { http, config, keys, last })))
    }

    /// The key for a token.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Arc<DecodingKey>, AuthError> {
        let known = self.0.keys();
        if let Some(fetched) = &known
            && let Some(key) = fetched.set.find(kid, alg)?
        {
            if fetched.at.elapsed() >= self.0.config.fresh_for {
                self.refresh_beside();
            }
            return Ok(key);
        }
        let outcome = self.refresh(known.map(|known| known.at)).await;
        if let Some(fetched) = self.0.keys()
            && let Some(key) = fetched.set.find(kid, alg)?
        {
            return Ok(key);
        }
        // Without an answer from the provider, nobody knows whether the key exists.
        outcome.map_err(|error| AuthError::Unavailable(Unavailable::Jwks(error)))?;
        Err(AuthError::InvalidToken("it was signed by an unknown key"))
    }

    /// Waits for a fetch that is newer than `seen`, unless it is too early for one.
    async fn refresh(&self, seen: Option<Instant>) -> Result<(), Arc<JwksError>> {
        let last = Arc::clone(&self.0.last).lock_owned().await;
        if self.0.keys().map(|keys| keys.at) != seen {
            return Ok(());
        }
        if let Some(attempt) = last.as_ref().filter(|attempt| self.0.is_recent(attempt)) {
            return attempt.outcome.clone();
        }
        let fetch = tokio::spawn(Inner::fetch_and_keep(Arc::clone(&self.0), last));
        fetch.await.unwrap_or_else(|_| Err(Arc::new(JwksError::BrokenOff)))
    }

    /// Fetches without being waited for, if nobody does and it is time.
    fn refresh_beside(&self) {
        if let Ok(last) = Arc::clone(&self.0.last).try_lock_owned()
            && !last.as_ref().is_some_and(|attempt| self.0.is_recent(attempt))
        {
            tokio::spawn(Inner::fetch_and_keep(Arc::clone(&self.0), last));
        }
    }
}

impl Inner {
    fn keys(&self) -> Option<Arc<Fetched>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_recent(&self, attempt: &Attempt) -> bool {
        let interval = self.config.min_interval;
        let interval = if self.keys().is_some() { interval } else { interval.min(FIRST_INTERVAL) };
        attempt.at.elapsed() < interval
    }

    async fn fetch_and_keep(
        inner: Arc<Self>,
        mut last: OwnedMutexGuard<Option<Attempt>>,
    ) -> Result<(), Arc<JwksError>> {
        let at = Instant::now();
        let outcome = inner.fetch().await.map_err(Arc::new).map(|set| {
            tracing::info!(keys = set.len(), "identity provider keys fetched");
            let fetched = Some(Arc::new(Fetched { set, at }));
            *inner.keys.write().unwrap_or_else(PoisonError::into_inner) = fetched;
        });
        if let Err(error) = &outcome {
            let cause = std::error::Error::source(error.as_ref()).map(ToString::to_string);
            tracing::warn!(%error, cause, "identity provider keys not fetched");
        }
        *last = Some(Attempt { at, outcome: outcome.clone() });
        outcome
    }

    async fn fetch(&self) -> Result<KeySet, JwksError> {
        // The URL may hold a secret.
        let http = |error: reqwest::Error| JwksError::Http(error.without_url());
        let mut answer = self.http.get(&self.config.url).send().await.map_err(http)?;
        if !answer.status().is_success() {
            return Err(JwksError::Status(answer.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(http)? {
            if document.len() + chunk.len() > MAX_BYTES {
                return Err(JwksError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        KeySet::parse(&document).map_err(JwksError::Malformed)
    }
}
