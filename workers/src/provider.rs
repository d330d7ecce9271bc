//! Language model providers behind one trait.
//!
//! # How to add a provider
//!
//! 1. Add a file under `provider/` with a type that implements [`Provider`].
//! 2. Add its kind to `ProviderKind` in the domain's catalog, and build it in `catalog/build.rs`.
//! 3. Test it against the scripted provider's faults and, where there is one, the real server.

pub mod demo;
pub mod openai;
pub mod retry;

use std::time::Duration;

use async_trait::async_trait;
use domain::session::Prompt;
use domain::{FinishReason, Settings, Usage, tokens};
use futures::stream::BoxStream;

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct CompletionRequest {
    /// The model's name at the provider.
    pub model: String,
    /// The conversation.
    pub prompt: Prompt,
    /// Sampling settings and further options.
    pub settings: Settings,
    /// The beginning of the answer, where there is one already: the provider is to go on from
    /// there, and gives the rest alone.
    pub prefix: Option<String>,
}

impl CompletionRequest {
    /// Tokens of the longest answer; of its rest, where it has begun.
    pub fn max_tokens(&self) -> Option<u32> {
        let used = self.prefix.as_ref().map_or(0, |prefix| tokens::usual(prefix.len()));
        self.settings.max_tokens.map(|most| most.saturating_sub(used).max(1))
    }
}

/// A piece of an answer as a provider sends it.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// Answer text.
    Text(String),
    /// Reasoning, where the provider shows it.
    Reasoning(String),
    /// A piece of a tool call; pieces with the same index belong together.
    ToolCall {
        /// Which call.
        index: u32,
        /// The call's id, in its first piece.
        id: Option<String>,
        /// The function's name, in its first piece.
        name: Option<String>,
        /// Text to append to the arguments.
        arguments: String,
    },
    /// Why the model stopped.
    Finish(FinishReason),
    /// What it used; a later one replaces an earlier one.
    Usage(Usage),
}

/// The answer as it comes. It ends after the last chunk, or with the first error.
pub type ChunkStream = BoxStream<'static, Result<Chunk, ProviderError>>;

/// A source of answers.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The provider's configured name.
    fn name(&self) -> &str;

    /// Starts an answer. Dropping the stream closes the connection upstream.
    async fn complete(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError>;

    /// Whether it can be reached and takes our credentials.
    async fn check(&self) -> Result<(), ProviderError>;
}

/// What sort of failure it was; it decides whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// 429: too many requests, or no credit left there.
    RateLimited,
    /// 5xx or "overloaded".
    Unavailable,
    /// No connection.
    Network,
    /// Connected, but no first token in time, or no next one.
    Timeout,
    /// The answer took longer than any may.
    OutOfTime,
    /// The answer is longer than any may be.
    AnswerTooLong,
    /// 401 or 403: our credentials.
    Unauthorized,
    /// 400 and the like: this request can never succeed.
    InvalidRequest,
    /// The prompt is longer than the model's context.
    ContextLength,
    /// 404: the provider doesn't have the model.
    ModelNotFound,
    /// The answer isn't what the protocol says.
    Protocol,
    /// This process lacks what it needs to ask.
    Misconfigured,
}

/// A provider's failure. Its message never holds credentials.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What sort it was.
    pub class: ErrorClass,
    /// What happened, for a person.
    pub message: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// An error without a wish to wait.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), retry_after: None }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.class,
            ErrorClass::RateLimited
                | ErrorClass::Unavailable
                | ErrorClass::Network
                | ErrorClass::Timeout
                | ErrorClass::OutOfTime
        )
    }

    /// Whether the request itself is at fault, by the provider's account.
    pub fn is_of_request(&self) -> bool {
        matches!(self.class, ErrorClass::InvalidRequest | ErrorClass::ContextLength)
    }

    /// Whether an answer that broke off with it is worth another attempt. One that took too
    /// long or became too long would do so again, at the same cost.
    pub fn is_worth_another_attempt(&self) -> bool {
        matches!(
            self.class,
            ErrorClass::RateLimited
                | ErrorClass::Unavailable
                | ErrorClass::Network
                | ErrorClass::Timeout
                | ErrorClass::Protocol
        )
    }

    /// The stable code under which a failed turn names it.
    pub fn code(&self) -> &'static str {
        match self.class {
            ErrorClass::RateLimited => "provider_rate_limited",
            ErrorClass::Unavailable => "provider_unavailable",
            ErrorClass::Network => "provider_unreachable",
            ErrorClass::Timeout | ErrorClass::OutOfTime => "provider_timeout",
            ErrorClass::AnswerTooLong => "provider_answer_too_long",
            ErrorClass::Unauthorized => "provider_unauthorized",
            ErrorClass::InvalidRequest => "provider_rejected",
            ErrorClass::ContextLength => "context_length_exceeded",
            ErrorClass::ModelNotFound => "provider_model_not_found",
            ErrorClass::Protocol => "provider_protocol_error",
            ErrorClass::Misconfigured => "provider_misconfigured",
        }
    }
}
