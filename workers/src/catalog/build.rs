//! Checks the configured providers and builds them.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{ModelSpec, Models};
use reqwest::Url;

use super::Catalog;
use super::config::{ModelConfig, ProviderConfig, ProviderKind};
use super::named::Named;
use crate::provider::demo::Demo;
use crate::provider::openai::{ApiKey, OpenAi, OpenAiConfig};
use crate::provider::retry::{Retry, RetryPolicy};
use crate::provider::{Provider, ProviderError};

/// Retries beyond this only keep a turn waiting.
const MOST_RETRIES: u32 = 10;

/// What is wrong with the configured providers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// A provider's own settings.
    #[error("provider \"{provider}\": {problem}")]
    Provider {
        /// Its name.
        provider: String,
        /// What is wrong.
        problem: String,
    },
    /// One of its models.
    #[error("model \"{model}\" of provider \"{provider}\": {problem}")]
    Model {
        /// The provider's name.
        provider: String,
        /// The model's name.
        model: String,
        /// What is wrong.
        problem: String,
    },
    /// The provider's client could not be made.
    #[error("provider \"{provider}\" cannot be used")]
    Client {
        /// Its name.
        provider: String,
        /// Why.
        #[source]
        source: ProviderError,
    },
}

/// The models alone, for a process that asks none of them itself and hence needs no API key.
pub fn models(configs: &[ProviderConfig]) -> Result<Models, CatalogError> {
    let demo = [ProviderConfig::demo()];
    let configs = or_demo(configs, &demo);
    let mut models: Vec<ModelSpec> = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        check_provider(config, &configs[..index])?;
        for model in &config.models {
            check_model(config, model, &models)?;
            models.push(spec(config, model));
        }
    }
    Ok(Models::new(models))
}

/// Builds the catalog; `env` looks up environment variables. Without any provider, the demo
/// stands in.
pub fn build(
    configs: &[ProviderConfig],
    env: impl Fn(&str) -> Option<String>,
) -> Result<Catalog, CatalogError> {
    let models = Arc::new(models(configs)?);
    let demo = [ProviderConfig::demo()];
    let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
    let mut by_model: HashMap<String, Arc<dyn Provider>> = HashMap::new();
    for config in or_demo(configs, &demo) {
        let provider = provider(config, &env)?;
        let routes =
            config.models.iter().map(|model| (model.name.clone(), route(&provider, model)));
        by_model.extend(routes);
        providers.push(provider);
    }
    Ok(Catalog { models, providers, by_model })
}

fn or_demo<'a>(configs: &'a [ProviderConfig], demo: &'a [ProviderConfig]) -> &'a [ProviderConfig] {
    if configs.is_empty() { demo } else { configs }
}

fn spec(config: &ProviderConfig, model: &ModelConfig) -> ModelSpec {
    ModelSpec {
        name: model.name.clone(),
        provider: config.name.clone(),
        context: model.context,
        max_output: model.max_output,
        pool: model.pool.clone(),
    }
}

fn route(provider: &Arc<dyn Provider>, model: &ModelConfig) -> Arc<dyn Provider> {
    let upstream = model.upstream_name.as_ref().unwrap_or(&model.name);
    Arc::new(Named { inner: Arc::clone(provider), model: upstream.clone() })
}

fn provider(
    config: &ProviderConfig,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Arc<dyn Provider>, CatalogError> {
    match config.kind {
        ProviderKind::Demo => {
            let pace = std::time::Duration::from_millis(config.word_pace_ms);
            Ok(Arc::new(Demo::new(&config.name, pace)))
        }
        ProviderKind::OpenAi => {
            let client = OpenAi::new(OpenAiConfig {
                name: config.name.clone(),
                base_url: base_url(config)?,
                api_key: api_key(config, env)?,
                timeouts: config.timeouts(),
                max_tokens_field: config.max_tokens_field,
            });
            let client = client
                .map_err(|source| CatalogError::Client { provider: config.name.clone(), source })?;
            let policy = RetryPolicy { max_retries: config.max_retries, ..RetryPolicy::default() };
            Ok(Arc::new(Retry::new(Arc::new(client), policy)))
        }
    }
}

/// The URL is not repeated in errors: it may hold a password.
fn base_url(config: &ProviderConfig) -> Result<Url, CatalogError> {
    let Some(text) = &config.base_url else {
        return problem(config, "kind \"openai\" needs a base_url");
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return problem(config, &format!("base_url is not a valid URL: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return problem(config, "base_url must begin with http:// or https://");
    }
    if url.path().trim_end_matches('/').ends_with("/chat/completions") {
        return problem(config, "base_url must end before /chat/completions");
    }
    Ok(url)
}

fn api_key(
    config: &ProviderConfig,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<ApiKey>, CatalogError> {
    let Some(name) = &config.api_key_env else {
        return Ok(None);
    };
    match env(name).map(|key| key.trim().to_owned()) {
        Some(key) if !key.is_empty() => Ok(Some(ApiKey::new(key))),
        _ => problem(
            config,
            &format!("the environment variable {name}, named by api_key_env, is not set or empty"),
        ),
    }
}

fn check_provider(config: &ProviderConfig, others: &[ProviderConfig]) -> Result<(), CatalogError> {
    if !is_name(&config.name) {
        return problem(config, "name must be 1 to 255 printable characters");
    }
    if others.iter().any(|other| other.name == config.name) {
        return problem(config, "there is another provider of this name");
    }
    if config.models.is_empty() {
        return problem(config, "models must not be empty");
    }
    if config.max_retries > MOST_RETRIES {
        return problem(config, &format!("max_retries must be at most {MOST_RETRIES}"));
    }
    let timeouts = [
        ("connect_timeout_ms", config.connect_timeout_ms),
        ("first_token_timeout_ms", config.first_token_timeout_ms),
        ("inter_token_timeout_ms", config.inter_token_timeout_ms),
        ("total_timeout_ms", config.total_timeout_ms),
    ];
    let day = 24 * 60 * 60 * 1000;
    if let Some((name, _)) = timeouts.iter().find(|(_, value)| !(1..=day).contains(value)) {
        return problem(config, &format!("{name} must be from 1 to {day}"));
    }
    match config.kind {
        ProviderKind::OpenAi => base_url(config).map(drop),
        ProviderKind::Demo => Ok(()),
    }
}

fn check_model(
    config: &ProviderConfig,
    model: &ModelConfig,
    others: &[ModelSpec],
) -> Result<(), CatalogError> {
    let problem = if !is_name(&model.name) {
        "name must be 1 to 255 printable characters".to_owned()
    } else if let Some(other) = others.iter().find(|other| other.name == model.name) {
        format!("provider \"{}\" already has a model of this name", other.provider)
    } else if model.context == 0 {
        "context must be at least 1".to_owned()
    } else if model.max_output == 0 {
        "max_output must be at least 1".to_owned()
    } else if model.max_output > model.context {
        format!("max_output ({}) is more than context ({})", model.max_output, model.context)
    } else if !is_pool(&model.pool) {
        "pool must be 1 to 64 of A-Z a-z 0-9 _ -".to_owned()
    } else {
        return Ok(());
    };
    let (provider, model) = (config.name.clone(), model.name.clone());
    Err(CatalogError::Model { provider, model, problem })
}

fn problem<T>(config: &ProviderConfig, problem: &str) -> Result<T, CatalogError> {
    Err(CatalogError::Provider { provider: config.name.clone(), problem: problem.to_owned() })
}

fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control)
}

/// A pool stands in a NATS subject.
fn is_pool(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
