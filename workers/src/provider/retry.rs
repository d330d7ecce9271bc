//! Tries again, for any provider, as long as nothing of the answer was seen.
//!
//! The first chunk is awaited before the stream is given out, so that an answer that fails
//! before it begins is retried like a request that was refused. After the first chunk a
//! failure is the caller's to handle: part of the answer may have been shown.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream;
use rand::Rng as _;

use super::{Chunk, ChunkStream, CompletionRequest, ErrorClass, Provider, ProviderError};

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first one.
    pub max_retries: u32,
    /// The first wait, doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait, whatever the provider asks for.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// The wait before retry `number` (from 0): what the provider asks for, or else between
    /// half and all of the doubled wait, so that many clients don't come back at once.
    fn wait(&self, number: u32, error: &ProviderError) -> Duration {
        let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(number));
        let backoff = doubled.min(self.longest_wait).mul_f64(rand::rng().random_range(0.5..=1.0));
        error.retry_after.map_or(backoff, |asked| asked.max(backoff)).min(self.longest_wait)
    }
}

/// A provider that is tried again.
pub struct Retry {
    inner: Arc<dyn Provider>,
    policy: RetryPolicy,
}

impl Retry {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Provider>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    /// One try, up to the first chunk of the answer; what it used so far is none.
    async fn begin(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        let mut rest = self.inner.complete(request).await?;
        let mut counted = None;
        let first = loop {
            match rest.next().await {
                Some(Ok(usage @ Chunk::Usage(_))) => counted = Some(usage),
                Some(first) => break first?,
                None => {
                    let message = format!("{} ended the answer before it began", self.name());
                    return Err(ProviderError::new(ErrorClass::Protocol, message));
                }
            }
        };
        let begun = counted.into_iter().chain([first]).map(Ok);
        Ok(stream::iter(begun).chain(rest).boxed())
    }
}

#[async_trait]
impl Provider for Retry {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn complete(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        let mut retries = 0;
        loop {
            let error = match self.begin(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if retries >= self.policy.max_retries || !error.is_retryable() {
                return Err(error);
            }
            let wait = self.policy.wait(retries, &error);
            retries += 1;
            tracing::info!(provider = self.name(), %error, retries, ?wait, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.inner.check().await
    }
}

#[cfg(test)]
mod tests;
