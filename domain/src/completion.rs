//! The finished answer and what it cost.

use serde::{Deserialize, Serialize};

use crate::content::Message;
use crate::cuts::Cuts;

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// The token limit was reached.
    Length,
    /// It waits for tools.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
}

impl FinishReason {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Tokens used by one attempt, as the provider counted them.
///
/// `prompt_tokens` includes the cached ones (`OpenAI`'s meaning; others are converted).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u32,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u32,
    /// Part of `prompt_tokens` that came from the provider's cache.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Part of `completion_tokens` that was reasoning.
    #[serde(default)]
    pub reasoning_tokens: u32,
    /// Whether the provider gave no count and this is our estimate.
    #[serde(default)]
    pub estimated: bool,
}

impl Usage {
    /// Prompt and answer together.
    pub fn total_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// Where a turn's time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// From the request's acceptance to the attempt's start.
    pub queued_ms: u64,
    /// From the attempt's start to the first delta.
    pub first_delta_ms: u64,
    /// From the attempt's start to its end.
    pub total_ms: u64,
}

/// What one attempt produced: the answer, whole or as far as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The answer in its place in the session.
    pub message: Message,
    /// What it used.
    pub usage: Usage,
    /// How long it took.
    pub timing: Timing,
    /// How it was cut into deltas as it was published.
    #[serde(default)]
    pub cuts: Cuts,
    /// The code of what cut the answer short, if it wasn't the model or the user:
    /// `insufficient_quota`, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}
