//! A model that is built in, so that everything can be tried before a real one is configured.
//!
//! It says what it is, repeats what it was told and counts the conversation's messages, so
//! one sees that the whole way there and back is real. The same conversation always gets the
//! same answer.

use std::time::Duration;

use async_trait::async_trait;
use domain::session::Prompt;
use domain::{ContentPart, FinishReason, Role, Usage, tokens};
use futures::StreamExt as _;
use futures::stream;

use super::{Chunk, ChunkStream, CompletionRequest, Provider, ProviderError};

/// How much of the user's message is repeated, in characters.
const QUOTED: usize = 200;

/// The built-in provider.
#[derive(Debug, Clone)]
pub struct Demo {
    name: String,
    pace: Duration,
}

impl Demo {
    /// The pace at which it speaks if none is set, a word.
    pub const PACE: Duration = Duration::from_millis(20);

    /// A demo provider that takes `pace` for each word.
    pub fn new(name: impl Into<String>, pace: Duration) -> Self {
        Self { name: name.into(), pace }
    }
}

#[async_trait]
impl Provider for Demo {
    fn name(&self) -> &str {
        &self.name
    }

    async fn complete(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        let chunks = chunks(request);
        let pace = self.pace;
        let paced = stream::iter(chunks).then(move |chunk| async move {
            if !pace.is_zero() && matches!(chunk, Chunk::Text(_)) {
                tokio::time::sleep(pace).await;
            }
            Ok(chunk)
        });
        Ok(paced.boxed())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

fn chunks(request: &CompletionRequest) -> Vec<Chunk> {
    let answer = answer(&request.prompt);
    let limit = request.settings.max_tokens.unwrap_or(u32::MAX);
    let mut size = 0;
    let mut chunks = Vec::new();
    let mut finish = FinishReason::Stop;
    for word in answer.split_inclusive(' ') {
        if tokens::usual(size + word.len()) > limit {
            finish = FinishReason::Length;
            break;
        }
        size += word.len();
        chunks.push(Chunk::Text(word.to_owned()));
    }
    chunks.push(Chunk::Finish(finish));
    chunks.push(Chunk::Usage(Usage {
        prompt_tokens: prompt_tokens(&request.prompt),
        completion_tokens: tokens::usual(size),
        estimated: true,
        ..Usage::default()
    }));
    chunks
}

fn answer(prompt: &Prompt) -> String {
    let count = prompt.messages.len() + prompt.dropped;
    let number = match count {
        1 => "the first message".to_owned(),
        _ => format!("message {count}"),
    };
    let said = prompt.messages.iter().rev().find(|message| message.role == Role::User);
    let said = said.map(|message| message.text()).unwrap_or_default();
    let echo = match quote(&said) {
        Some(quoted) => format!("You wrote: “{quoted}”"),
        None => "Your message has no text".to_owned(),
    };
    format!(
        "This is Colloquy's built-in demo model; no language model is at work here. {echo} \
         — {number} of this conversation. For real answers, put a [[providers]] section into \
         colloquy.toml (colloquy.example.toml shows how) and start Colloquy again."
    )
}

/// The beginning of `text` on one line.
fn quote(text: &str) -> Option<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => Some(format!("{}…", &text[..end])),
        None => Some(text).filter(|text| !text.is_empty()),
    }
}

fn prompt_tokens(prompt: &Prompt) -> u32 {
    let parts = prompt.messages.iter().flat_map(|message| &message.content);
    let messages: usize = parts.map(ContentPart::size).sum();
    tokens::usual(messages + prompt.system.as_ref().map_or(0, String::len))
}

#[cfg(test)]
mod tests;
