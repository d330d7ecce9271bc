//! Any server with `OpenAI`'s `/chat/completions`: `OpenAI` itself, `DeepSeek`, Moonshot,
//! Ollama, vLLM, llama.cpp and many more.

mod answer;
mod deadlines;
mod error;
mod frame;
mod request;
pub(crate) mod retry_after;
mod seam;
mod sse;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::catalog::{Continuation, MaxTokensField};
use futures::StreamExt as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url};
use tokio::time::{Instant, timeout_at};

use super::{ChunkStream, CompletionRequest, ErrorClass, Provider, ProviderError};
use answer::Answer;
use deadlines::Deadlines;
pub use deadlines::Timeouts;
pub use error::ApiKey;
use error::Reporter;
use seam::Seam;

/// How long a health check and the body of an error may take.
const SHORT: Duration = Duration::from_secs(5);
/// The most that is read of an error's body, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// What is needed to talk to a server.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// The provider's configured name.
    pub name: String,
    /// The URL up to and without `/chat/completions`.
    pub base_url: Url,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What the field for the answer's limit is called.
    pub max_tokens_field: MaxTokensField,
    /// How it is asked to go on with an answer.
    pub continuation: Continuation,
}

/// A client of one server. It holds connections open between answers.
#[derive(Debug)]
pub struct OpenAi {
    client: Client,
    completions: Url,
    models: Url,
    timeouts: Timeouts,
    max_tokens_field: MaxTokensField,
    continuation: Continuation,
    report: Arc<Reporter>,
}

impl OpenAi {
    /// A client with its own connection pool.
    pub fn new(config: OpenAiConfig) -> Result<Self, ProviderError> {
        let report = Arc::new(Reporter {
            origin: config.base_url.origin().ascii_serialization(),
            provider: config.name,
            api_key: config.api_key,
        });
        let client = client(&config.base_url, config.timeouts.connect, &report)?;
        Ok(Self {
            client,
            completions: endpoint(&config.base_url, &["chat", "completions"]),
            models: endpoint(&config.base_url, &["models"]),
            timeouts: config.timeouts,
            max_tokens_field: config.max_tokens_field,
            continuation: config.continuation,
            report,
        })
    }

    fn body(&self, request: &CompletionRequest) -> Result<Vec<u8>, ProviderError> {
        if request.prefix.is_some() && self.continuation == Continuation::None {
            let what = "was not asked: it cannot go on with an answer";
            return Err(self.report.error(ErrorClass::Misconfigured, what));
        }
        request::body(request, self.max_tokens_field, self.continuation).map_err(|error| {
            let what = format_args!("was not asked: the request is no JSON: {error}");
            self.report.error(ErrorClass::InvalidRequest, what)
        })
    }

    async fn failure(&self, response: Response) -> ProviderError {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = error_body(response).await;
        self.report.http(status, &headers, &body)
    }

    /// A web page in place of an answer is what a wrong `base_url` gives.
    fn refuse_html(&self, headers: &HeaderMap) -> Result<(), ProviderError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/html")) {
            let what = "answered with a web page (is base_url right?)";
            return Err(self.report.error(ErrorClass::Protocol, what));
        }
        Ok(())
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.report.provider
    }

    async fn complete(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        let deadlines = Deadlines::start(self.timeouts);
        let body = self.body(request)?;
        let sent = self.client.post(self.completions.clone()).body(body).send();
        let Ok(sent) = timeout_at(deadlines.next(), sent).await else {
            let late = deadlines.check().unwrap_or(deadlines::Late::FirstToken);
            return Err(self.report.error(late.class(), deadlines.describe(late)));
        };
        let response = sent.map_err(|error| self.report.transport(error))?;
        if !response.status().is_success() {
            return Err(self.failure(response).await);
        }
        self.refuse_html(response.headers())?;
        let body = response.bytes_stream().boxed();
        let answer = Answer::new(body, deadlines, Arc::clone(&self.report));
        let prefix = request.prefix.as_deref();
        match prefix.and_then(|prefix| Seam::of(prefix, self.continuation)) {
            Some(seam) => Ok(seam::join(answer, seam)),
            None => Ok(answer.boxed()),
        }
    }

    async fn check(&self) -> Result<(), ProviderError> {
        let sent = self.client.get(self.models.clone()).timeout(SHORT).send().await;
        let response = sent.map_err(|error| self.report.transport(error))?;
        // Not every server lists its models; that it answers is enough.
        match response.status().as_u16() {
            200..=299 | 404 | 405 => Ok(()),
            _ => Err(self.failure(response).await),
        }
    }
}

fn client(base_url: &Url, connect: Duration, report: &Reporter) -> Result<Client, ProviderError> {
    let broken = |what: &str| report.error(ErrorClass::InvalidRequest, what);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &report.api_key {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| broken("has an API key that cannot stand in an HTTP header"))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    // One connection an answer, so that dropping the answer closes it and stops the model.
    let mut builder = Client::builder()
        .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .pool_idle_timeout(Duration::from_secs(30));
    if is_loopback(base_url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| broken(&format!("cannot have an HTTP client: {error}")))
}

/// A proxy meant for the internet must not catch requests to this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `base` with more of a path; a query it may have stays.
fn endpoint(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// As much of the body as comes in time.
async fn error_body(mut response: Response) -> Vec<u8> {
    let deadline = Instant::now() + SHORT;
    let mut body = Vec::new();
    while let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if body.len() == MAX_ERROR_BODY {
            break;
        }
    }
    body
}
