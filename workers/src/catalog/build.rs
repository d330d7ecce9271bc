//! Builds a provider's client.

use std::sync::Arc;
use std::time::Duration;

use domain::catalog::{ProviderKind, ProviderSpec};
use reqwest::Url;

use super::Environment;
use crate::provider::demo::Demo;
use crate::provider::openai::{ApiKey, OpenAi, OpenAiConfig, Timeouts};
use crate::provider::retry::{Retry, RetryPolicy};
use crate::provider::{ErrorClass, Provider, ProviderError};

pub(super) fn client(
    spec: &ProviderSpec,
    environment: &Environment,
) -> Result<Arc<dyn Provider>, ProviderError> {
    match spec.kind {
        ProviderKind::Demo => {
            Ok(Arc::new(Demo::new(&spec.name, Duration::from_millis(spec.word_pace_ms))))
        }
        ProviderKind::OpenAi => {
            let client = OpenAi::new(OpenAiConfig {
                name: spec.name.clone(),
                base_url: base_url(spec)?,
                api_key: api_key(spec, environment)?,
                timeouts: timeouts(spec),
                max_tokens_field: spec.max_tokens_field,
                continuation: spec.continuation,
            })?;
            let policy = RetryPolicy { max_retries: spec.max_retries, ..RetryPolicy::default() };
            Ok(Arc::new(Retry::new(Arc::new(client), policy)))
        }
    }
}

pub(super) fn timeouts(spec: &ProviderSpec) -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(spec.connect_timeout_ms),
        first_token: Duration::from_millis(spec.first_token_timeout_ms),
        inter_token: Duration::from_millis(spec.inter_token_timeout_ms),
        total: Duration::from_millis(spec.total_timeout_ms),
    }
}

/// The catalog's rules have seen to most of it; what they let through is tried here.
fn base_url(spec: &ProviderSpec) -> Result<Url, ProviderError> {
    let Some(text) = &spec.base_url else { return problem(spec, "has no base_url") };
    match Url::parse(text) {
        Ok(url) => Ok(url),
        Err(error) => problem(spec, &format!("has a base_url that is not a valid URL: {error}")),
    }
}

fn api_key(
    spec: &ProviderSpec,
    environment: &Environment,
) -> Result<Option<ApiKey>, ProviderError> {
    let Some(name) = &spec.api_key_env else { return Ok(None) };
    match environment(name).map(|key| key.trim().to_owned()) {
        Some(key) if !key.is_empty() => Ok(Some(ApiKey::new(key))),
        _ => problem(
            spec,
            &format!(
                "can't be asked: the environment variable {name}, named by api_key_env, is not \
                 set or empty here"
            ),
        ),
    }
}

fn problem<T>(spec: &ProviderSpec, problem: &str) -> Result<T, ProviderError> {
    let message = format!("provider \"{}\" {problem}", spec.name);
    Err(ProviderError::new(ErrorClass::Misconfigured, message))
}
