//! A provider as plain data: where its server is, and how it is to be asked.

use serde::{Deserialize, Serialize};

use crate::models::Status;

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

/// What the field for the answer's limit is called at the provider; newer models of `OpenAI`
/// know only the second name, most other servers only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_tokens`
    #[default]
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

/// How a server is asked to go on with an answer of which it is shown the beginning. Nearly all
/// take it as the last message, of the assistant; they differ in what else they want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// It can't, or is not asked to.
    #[default]
    None,
    /// The message alone.
    LastMessage,
    /// The message with `"prefix": true`.
    PrefixFlag,
    /// The same, and the answer repeats the beginning, which is taken off again.
    PrefixFlagEcho,
    /// `continue_final_message` and not `add_generation_prompt`, beside the messages.
    FinalMessageFlags,
}

impl Continuation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// One provider. Its API key is never part of it, only the name of the variable that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSpec {
    /// Its name.
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
    pub max_tokens_field: MaxTokensField,
    /// How it is asked to go on with an answer that broke off.
    #[serde(default, skip_serializing_if = "Continuation::is_none")]
    pub continuation: Continuation,
    /// Tries after the first one, as long as nothing of the answer came.
    pub max_retries: u32,
    /// For a connection.
    pub connect_timeout_ms: u64,
    /// From the request to the first token.
    pub first_token_timeout_ms: u64,
    /// From one token to the next.
    pub inter_token_timeout_ms: u64,
    /// For the whole answer.
    pub total_timeout_ms: u64,
    /// How long the demo takes for a word.
    pub word_pace_ms: u64,
    /// Whether its models are on offer.
    #[serde(default)]
    pub status: Status,
}

impl ProviderSpec {
    /// A provider with everything as it is where nobody says otherwise.
    pub fn new(name: impl Into<String>, kind: ProviderKind) -> Self {
        Self {
            name: name.into(),
            kind,
            base_url: None,
            api_key_env: None,
            max_tokens_field: MaxTokensField::default(),
            continuation: Continuation::default(),
            max_retries: 2,
            connect_timeout_ms: 5000,
            first_token_timeout_ms: 60_000,
            inter_token_timeout_ms: 30_000,
            total_timeout_ms: 600_000,
            word_pace_ms: 20,
            status: Status::Enabled,
        }
    }

    /// Whether it goes on from the beginning of an answer.
    pub fn can_continue(&self) -> bool {
        self.continuation != Continuation::None
    }

    /// This provider with the changes of `patch`.
    #[must_use]
    pub fn patched(&self, patch: &ProviderPatch) -> Self {
        let or = |new: Option<u64>, old: u64| new.unwrap_or(old);
        Self {
            name: self.name.clone(),
            kind: self.kind,
            base_url: patch.base_url.clone().unwrap_or_else(|| self.base_url.clone()),
            api_key_env: patch.api_key_env.clone().unwrap_or_else(|| self.api_key_env.clone()),
            max_tokens_field: patch.max_tokens_field.unwrap_or(self.max_tokens_field),
            continuation: patch.continuation.unwrap_or(self.continuation),
            max_retries: patch.max_retries.unwrap_or(self.max_retries),
            connect_timeout_ms: or(patch.connect_timeout_ms, self.connect_timeout_ms),
            first_token_timeout_ms: or(patch.first_token_timeout_ms, self.first_token_timeout_ms),
            inter_token_timeout_ms: or(patch.inter_token_timeout_ms, self.inter_token_timeout_ms),
            total_timeout_ms: or(patch.total_timeout_ms, self.total_timeout_ms),
            word_pace_ms: or(patch.word_pace_ms, self.word_pace_ms),
            status: patch.status.unwrap_or(self.status),
        }
    }
}

/// Changes to a provider; what is absent stays, null removes. Its kind stays for good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderPatch {
    /// See [`ProviderSpec::base_url`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub base_url: Option<Option<String>>,
    /// See [`ProviderSpec::api_key_env`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<Option<String>>,
    /// See [`ProviderSpec::max_tokens_field`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub max_tokens_field: Option<MaxTokensField>,
    /// See [`ProviderSpec::continuation`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// See [`ProviderSpec::max_retries`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// See [`ProviderSpec::connect_timeout_ms`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// See [`ProviderSpec::first_token_timeout_ms`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub first_token_timeout_ms: Option<u64>,
    /// See [`ProviderSpec::inter_token_timeout_ms`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub inter_token_timeout_ms: Option<u64>,
    /// See [`ProviderSpec::total_timeout_ms`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub total_timeout_ms: Option<u64>,
    /// See [`ProviderSpec::word_pace_ms`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub word_pace_ms: Option<u64>,
    /// See [`ProviderSpec::status`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}
