//! The shape of `[[providers]]` in the configuration file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::provider::demo::Demo;
use crate::provider::openai::{MaxTokensField, Timeouts};
use crate::provider::retry::RetryPolicy;

/// The queue of a model that names none.
pub const DEFAULT_POOL: &str = "default";

/// The kinds of providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Any server with `OpenAI`'s `/chat/completions`.
    #[serde(rename = "openai")]
    OpenAi,
    /// The built-in demo.
    Demo,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its name, for logs and health.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// The URL up to and without `/chat/completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The environment variable that holds its API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// What the field for the answer's limit is called there.
    #[serde(default)]
    pub max_tokens_field: MaxTokensField,
    /// Tries after the first one, as long as nothing of the answer came.
    #[serde(default = "max_retries")]
    pub max_retries: u32,
    /// For a connection.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// From the request to the first token.
    #[serde(default = "first_token_timeout_ms")]
    pub first_token_timeout_ms: u64,
    /// From one token to the next.
    #[serde(default = "inter_token_timeout_ms")]
    pub inter_token_timeout_ms: u64,
    /// For the whole answer.
    #[serde(default = "total_timeout_ms")]
    pub total_timeout_ms: u64,
    /// How long the demo takes for a word.
    #[serde(default = "word_pace_ms")]
    pub word_pace_ms: u64,
    /// Its models.
    pub models: Vec<ModelConfig>,
}

/// One model of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name that clients use.
    pub name: String,
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Tokens of the longest answer.
    pub max_output: u32,
    /// The model's name at the provider, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_name: Option<String>,
    /// The queue its turns go to.
    #[serde(default = "pool")]
    pub pool: String,
}

impl ProviderConfig {
    /// The demo that stands in when nothing is configured.
    pub fn demo() -> Self {
        Self {
            name: "demo".to_owned(),
            kind: ProviderKind::Demo,
            base_url: None,
            api_key_env: None,
            max_tokens_field: MaxTokensField::default(),
            max_retries: max_retries(),
            connect_timeout_ms: connect_timeout_ms(),
            first_token_timeout_ms: first_token_timeout_ms(),
            inter_token_timeout_ms: inter_token_timeout_ms(),
            total_timeout_ms: total_timeout_ms(),
            word_pace_ms: word_pace_ms(),
            models: vec![ModelConfig {
                name: "demo".to_owned(),
                context: 8192,
                max_output: 1024,
                upstream_name: None,
                pool: pool(),
            }],
        }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: Duration::from_millis(self.connect_timeout_ms),
            first_token: Duration::from_millis(self.first_token_timeout_ms),
            inter_token: Duration::from_millis(self.inter_token_timeout_ms),
            total: Duration::from_millis(self.total_timeout_ms),
        }
    }
}

fn pool() -> String {
    DEFAULT_POOL.to_owned()
}

fn max_retries() -> u32 {
    RetryPolicy::default().max_retries
}

fn connect_timeout_ms() -> u64 {
    millis(Timeouts::default().connect)
}

fn first_token_timeout_ms() -> u64 {
    millis(Timeouts::default().first_token)
}

fn inter_token_timeout_ms() -> u64 {
    millis(Timeouts::default().inter_token)
}

fn total_timeout_ms() -> u64 {
    millis(Timeouts::default().total)
}

fn word_pace_ms() -> u64 {
    millis(Demo::PACE)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
