//! An answer as it grows: chunks in, frames out, and in the end the completion.
//!
//! The first piece goes out at once; later ones are held together for a moment, so that a
//! fast model doesn't cost a message a token.

mod outbox;

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Frame, ToolCallDelta};
use chrono::{DateTime, Utc};
use domain::session::{Prompt, Turn};
use domain::{
    Completion, ContentPart, Cuts, FinishReason, Message, Role, Timing, Usage, content, tokens,
};
use tokio::time::Instant;

use self::outbox::Outbox;
use crate::provider::Chunk;

/// The highest index of a tool call: beyond it they fall together, whatever a provider says.
const LAST_TOOL_CALL: u32 = 255;

/// No tokeniser makes more of a byte; twice that, for what templates add.
const MOST_TOKENS_A_BYTE: usize = 2;

#[derive(Debug, Default, Clone)]
struct ToolCall {
    id: String,
    name: String,
    arguments: String,
}

impl ToolCall {
    fn is_blank(&self) -> bool {
        self.id.is_empty() && self.name.is_empty() && self.arguments.is_empty()
    }
}

/// One attempt's answer.
pub(crate) struct Answer {
    attempt: u32,
    interval: Duration,
    /// Tokens that may have been used without leaving a byte here: images, tools, hidden
    /// reasoning. Twice what the model holds, for its window may be set smaller than it is.
    most_unseen: u32,
    /// Tokens that the answer may have.
    longest: u32,
    started: Instant,
    first_delta: Option<Instant>,
    text: String,
    reasoning: String,
    /// By the provider's index, which may have holes.
    tool_calls: BTreeMap<u32, ToolCall>,
    usage: Option<Usage>,
    finish_reason: Option<FinishReason>,
    /// Bytes of `text` that it had from the attempt before.
    given: usize,
    /// What was taken in but not sent.
    outbox: Outbox,
    last_sent: Option<Instant>,
    cuts: Cuts,
}

impl Answer {
    pub(crate) fn new(
        attempt: u32,
        interval: Duration,
        context: u32,
        longest: Option<u32>,
    ) -> Self {
        Self {
            attempt,
            interval,
            most_unseen: context.saturating_mul(2),
            longest: longest.unwrap_or(u32::MAX),
            started: Instant::now(),
            first_delta: None,
            text: String::new(),
            reasoning: String::new(),
            tool_calls: BTreeMap::new(),
            usage: None,
            finish_reason: None,
            given: 0,
            outbox: Outbox::default(),
            last_sent: None,
            cuts: Cuts::default(),
        }
    }

    /// Begins with the text of an earlier attempt, which becomes the first frame.
    pub(crate) fn go_on_from(&mut self, prefix: String) {
        self.given = prefix.len();
        self.text.clone_from(&prefix);
        self.outbox.whole(prefix);
    }

    /// Takes a chunk in.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Text(text) => {
                let text = without_nul(text);
                self.text.push_str(&text);
                self.outbox.text(&text);
            }
            Chunk::Reasoning(text) => {
                let text = without_nul(text);
                self.reasoning.push_str(&text);
                self.outbox.reasoning(&text);
            }
            Chunk::ToolCall { index, id, name, arguments } => {
                self.tool_call(ToolCallDelta {
                    index: index.min(LAST_TOOL_CALL),
                    id: id.map(without_nul),
                    name: name.map(without_nul),
                    arguments: without_nul(arguments),
                });
            }
            Chunk::Finish(reason) => self.finish_reason = self.finish_reason.or(Some(reason)),
            Chunk::Usage(usage) => self.usage = Some(usage),
        }
        if !self.outbox.is_empty() {
            self.first_delta.get_or_insert_with(Instant::now);
        }
    }

    /// When what is pending has to go out; none if nothing is.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.outbox.is_empty() {
            return None;
        }
        Some(self.last_sent.map_or_else(Instant::now, |last| last + self.interval))
    }

    /// The next frame, with all that is pending.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let delta = self.outbox.take()?;
        self.cuts.push(delta.text.len(), delta.reasoning.len(), &delta.tool_calls);
        self.last_sent = Some(Instant::now());
        Some(Frame::Delta { attempt: self.attempt, sequence: self.sequence(), delta })
    }

    /// The sequence of the last frame.
    pub(crate) fn sequence(&self) -> u32 {
        self.cuts.len()
    }

    /// The provider's reason, or what the content says where it gave none.
    pub(crate) fn finish_reason(&self) -> FinishReason {
        let inferred = if self.tool_calls.values().all(ToolCall::is_blank) {
            FinishReason::Stop
        } else {
            FinishReason::ToolCalls
        };
        self.finish_reason.unwrap_or(inferred)
    }

    /// About how many tokens the answer has so far.
    pub(crate) fn estimated_tokens(&self) -> u32 {
        tokens::usual(self.brought())
    }

    /// What was used, by the provider's count if it can be true, or else our estimate. Of an
    /// answer that never began, nothing.
    pub(crate) fn usage(&self, prompt: &Prompt) -> Usage {
        let seen = MOST_TOKENS_A_BYTE * (bytes_of(prompt) + self.bytes());
        let most = u32::try_from(seen).unwrap_or(u32::MAX).saturating_add(self.most_unseen);
        let counted = self.usage.filter(|usage| {
            usage.total_tokens() <= most && usage.cached_tokens <= usage.prompt_tokens
        });
        counted.unwrap_or_else(|| self.estimated_usage(prompt))
    }

    fn estimated_usage(&self, prompt: &Prompt) -> Usage {
        let began = self.first_delta.is_some() || self.finish_reason.is_some();
        Usage {
            prompt_tokens: if began { tokens::usual(bytes_of(prompt) + self.given) } else { 0 },
            completion_tokens: self.estimated_tokens().min(self.longest),
            reasoning_tokens: tokens::usual(self.reasoning.len()).min(self.longest),
            cached_tokens: 0,
            estimated: true,
        }
    }

    /// Bytes of the answer that this attempt itself has brought.
    pub(crate) fn brought(&self) -> usize {
        self.bytes() - self.given
    }

    /// The answer's text, if it is nothing but text.
    pub(crate) fn into_plain_text(self) -> Option<String> {
        (self.reasoning.is_empty() && self.tool_calls.is_empty()).then_some(self.text)
    }

    fn bytes(&self) -> usize {
        let calls = self.tool_calls.values();
        let calls: usize = calls.map(|call| call.name.len() + call.arguments.len()).sum();
        self.text.len() + self.reasoning.len() + calls
    }

    /// The completion, once every frame is out.
    pub(crate) fn completion(
        &self,
        turn: &Turn,
        prompt: &Prompt,
        now: DateTime<Utc>,
    ) -> Completion {
        let message = Message {
            id: turn.answer_id,
            parent_id: Some(turn.message_id),
            role: Role::Assistant,
            content: self.content(),
            name: None,
            created_at: now,
        };
        Completion {
            message,
            usage: self.usage(prompt),
            timing: self.timing(turn, now),
            cuts: self.cuts.clone(),
            stopped_by: None,
        }
    }

    fn content(&self) -> Vec<ContentPart> {
        let mut parts = Vec::new();
        if !self.reasoning.is_empty() {
            parts.push(ContentPart::Reasoning { text: self.reasoning.clone() });
        }
        if !self.text.is_empty() {
            parts.push(ContentPart::text(self.text.clone()));
        }
        let calls = self.tool_calls.values().filter(|call| !call.is_blank()).cloned();
        parts.extend(calls.map(|call| ContentPart::ToolCall {
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        }));
        parts
    }

    fn timing(&self, turn: &Turn, now: DateTime<Utc>) -> Timing {
        let total_ms = millis(self.started.elapsed());
        let since_request =
            u64::try_from((now - turn.requested_at).num_milliseconds()).unwrap_or(0);
        Timing {
            queued_ms: since_request.saturating_sub(total_ms),
            first_delta_ms: self.first_delta.map_or(0, |first| millis(first - self.started)),
            total_ms,
        }
    }

    fn tool_call(&mut self, delta: ToolCallDelta) {
        let call = self.tool_calls.entry(delta.index).or_default();
        if let Some(id) = &delta.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &delta.name {
            call.name.push_str(name);
        }
        call.arguments.push_str(&delta.arguments);
        self.outbox.tool_call(delta);
    }
}

fn bytes_of(prompt: &Prompt) -> usize {
    let texts = prompt.messages.iter().map(|message| content::text_of(&message.content).len());
    prompt.system.as_ref().map_or(0, String::len) + texts.sum::<usize>()
}

/// A provider's text as it can be kept: Postgres can't work with a NUL in JSON. It is replaced
/// before anybody sees it, so that frames, log and read models say the same.
pub(crate) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
