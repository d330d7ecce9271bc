//! One JSON object of an answer, read into chunks.
//!
//! The same shape serves for a streamed answer (`delta`) and for one that comes whole
//! (`message`). Only what we use is read; everything else is skipped without a copy.

use std::collections::VecDeque;

use domain::FinishReason;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Reporter;
use super::usage;
use crate::provider::{Chunk, ErrorClass, ProviderError};

/// The longest answer (text, reasoning and tool arguments together), in bytes.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// What is said of a longer one.
pub(super) const TOO_LONG: &str = "sent an answer longer than 16 MiB";

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// Stands at the top only in some servers' errors.
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// What was read of an answer so far.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Whether the model said that it is done.
    pub(super) finished: bool,
    size: usize,
    usage: Option<domain::Usage>,
}

impl FrameReader {
    /// Reads one object and adds its chunks to `chunks`. Returns false if it is not JSON of
    /// the right shape.
    pub(super) fn read(
        &mut self,
        data: &[u8],
        report: &Reporter,
        chunks: &mut VecDeque<Chunk>,
    ) -> Result<bool, ProviderError> {
        // A list would be taken for an object's fields in their order.
        let is_object = data.trim_ascii_start().starts_with(b"{");
        let Some(frame) =
            is_object.then(|| serde_json::from_slice::<Frame<'_>>(data).ok()).flatten()
        else {
            return Ok(false);
        };
        if let Some(error) = frame.error {
            return Err(report.in_answer(error.get()));
        }
        if frame.choices.is_none() && frame.message.is_some() {
            return Err(report.in_answer(&String::from_utf8_lossy(data)));
        }
        let mut counted = frame.usage;
        let choices = frame.choices.into_iter().flatten();
        for choice in choices.filter(|choice| matches!(choice.index, None | Some(0))) {
            counted = counted.or(choice.usage);
            self.read_choice(choice, report, chunks)?;
        }
        self.read_usage(counted, chunks);
        Ok(true)
    }

    /// Adds the finish that the provider left out.
    pub(super) fn finish(&mut self, chunks: &mut VecDeque<Chunk>) {
        if !std::mem::replace(&mut self.finished, true) {
            chunks.push_back(Chunk::Finish(FinishReason::Stop));
        }
    }

    fn read_choice(
        &mut self,
        choice: Choice<'_>,
        report: &Reporter,
        chunks: &mut VecDeque<Chunk>,
    ) -> Result<(), ProviderError> {
        if self.finished {
            // Content after the finish, or a second finish: the answer is already whole.
            return Ok(());
        }
        let before = chunks.len();
        if let Some(delta) = choice.delta.or(choice.message) {
            self.size += push_delta(delta, chunks);
        }
        if self.size > MAX_ANSWER {
            chunks.truncate(before);
            return Err(report.error(ErrorClass::AnswerTooLong, TOO_LONG));
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            chunks.push_back(Chunk::Finish(finish_reason(&reason, report)?));
            self.finished = true;
        }
        Ok(())
    }

    /// Some servers count in every frame; only news is passed on.
    fn read_usage(&mut self, raw: Option<&RawValue>, chunks: &mut VecDeque<Chunk>) {
        let Some(usage) = raw.and_then(|raw| usage::read(raw.get())) else {
            return;
        };
        if self.usage != Some(usage) {
            self.usage = Some(usage);
            chunks.push_back(Chunk::Usage(usage));
        }
    }
}

/// Adds what a delta holds; returns its size in bytes.
fn push_delta(delta: Delta, chunks: &mut VecDeque<Chunk>) -> usize {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut size = 0;
    if let Some(text) = some(delta.reasoning_content).or(some(delta.reasoning)) {
        size += text.len();
        chunks.push_back(Chunk::Reasoning(text));
    }
    for text in [some(delta.content), some(delta.refusal)].into_iter().flatten() {
        size += text.len();
        chunks.push_back(Chunk::Text(text));
    }
    for (place, call) in (0..).zip(delta.tool_calls.into_iter().flatten()) {
        let (name, arguments) = call.function.map_or((None, None), |f| (f.name, f.arguments));
        let arguments = arguments.unwrap_or_default();
        // Pieces without text count too, so that their number is bounded.
        size += arguments.len() + name.as_ref().map_or(0, String::len) + 1;
        let (index, id, name) = (call.index.unwrap_or(place), some(call.id), some(name));
        chunks.push_back(Chunk::ToolCall { index, id, name, arguments });
    }
    size
}

fn finish_reason(reason: &str, report: &Reporter) -> Result<FinishReason, ProviderError> {
    Ok(match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        // The answer was broken off; to show it as whole would be a lie.
        "insufficient_system_resource" | "error" => {
            return Err(report
                .error(ErrorClass::Unavailable, format_args!("broke off the answer ({reason})")));
        }
        unknown => {
            tracing::debug!(provider = report.provider, finish_reason = unknown, "unknown finish");
            FinishReason::Stop
        }
    })
}

#[cfg(test)]
mod tests;
