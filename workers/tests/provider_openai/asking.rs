//! What tests ask, and what they see of the answer.

use std::time::Duration;

use domain::catalog::{Continuation, MaxTokensField};
use domain::session::Prompt;
use domain::{FinishReason, Settings};
use futures::StreamExt as _;
use workers::provider::openai::{ApiKey, OpenAi, OpenAiConfig, Timeouts};
use workers::provider::retry::{Retry, RetryPolicy};
use workers::provider::{
    Chunk, ChunkStream, CompletionRequest, ErrorClass, Provider, ProviderError,
};

use super::scripted::{Server, delta, done, finish, sse};

/// For what is to come, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn client(server: &Server) -> OpenAi {
    client_at(&server.base_url)
}

/// A client that gives up a server which says nothing for 0.2 s.
pub(crate) fn hasty(server: &Server) -> OpenAi {
    let mut config = config(&server.base_url);
    config.timeouts.first_token = Duration::from_millis(200);
    config.timeouts.inter_token = Duration::from_millis(200);
    OpenAi::new(config).unwrap()
}

pub(crate) fn client_at(base_url: &str) -> OpenAi {
    OpenAi::new(config(base_url)).unwrap()
}

pub(crate) fn config(base_url: &str) -> OpenAiConfig {
    OpenAiConfig {
        name: "scripted".to_owned(),
        base_url: base_url.parse().unwrap(),
        api_key: Some(ApiKey::new("sk-secret")),
        timeouts: Timeouts {
            connect: PATIENCE,
            first_token: PATIENCE,
            inter_token: PATIENCE,
            total: PATIENCE,
        },
        max_tokens_field: MaxTokensField::MaxTokens,
        continuation: Continuation::None,
    }
}

pub(crate) fn retrying(server: &Server) -> Retry {
    let first_wait = Duration::from_millis(5);
    let policy = RetryPolicy { first_wait, ..RetryPolicy::default() };
    Retry::new(std::sync::Arc::new(client(server)), policy)
}

pub(crate) fn request() -> CompletionRequest {
    CompletionRequest {
        model: "m".to_owned(),
        prompt: Prompt { system: Some("s".to_owned()), messages: Vec::new(), dropped: 0 },
        settings: Settings::default(),
        prefix: None,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) usage: Option<domain::Usage>,
    pub(crate) error: Option<ProviderError>,
}

impl Seen {
    pub(crate) async fn of(answer: Result<ChunkStream, ProviderError>) -> Self {
        let mut seen = Self::default();
        match answer {
            Err(error) => seen.error = Some(error),
            Ok(mut answer) => {
                while let Some(item) = answer.next().await {
                    seen.take(item);
                }
            }
        }
        seen
    }

    fn take(&mut self, item: Result<Chunk, ProviderError>) {
        match item {
            Ok(Chunk::Text(text)) => self.text.push_str(&text),
            Ok(Chunk::Finish(reason)) => {
                assert_eq!(self.finish.replace(reason), None, "finished twice");
            }
            Ok(Chunk::Usage(usage)) => self.usage = Some(usage),
            Ok(other) => panic!("{other:?}"),
            Err(error) => self.error = Some(error),
        }
    }

    pub(crate) fn class(&self) -> Option<ErrorClass> {
        self.error.as_ref().map(|error| error.class)
    }
}

pub(crate) async fn ask(provider: &impl Provider) -> Seen {
    Seen::of(provider.complete(&request()).await).await
}

pub(crate) fn whole(text: &str) -> String {
    sse(&[&delta(text), &finish("stop"), &usage(3, 2), done()])
}

pub(crate) fn usage(prompt: i64, completion: i64) -> String {
    format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#
    )
}
