//! What went wrong at a provider, as one of our classes with a message for a person.
//!
//! The provider's own words are kept, for they say the most; they are bounded, and the API
//! key is taken out should the provider have repeated it.

use std::error::Error as _;
use std::fmt;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::retry_after::retry_after;
use crate::provider::{ErrorClass, ProviderError};

/// The longest message passed on, in characters.
const MAX_MESSAGE: usize = 500;

/// A provider's API key. It never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key as it goes into the request.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Words a provider's failures for its log lines and events.
#[derive(Debug)]
pub(super) struct Reporter {
    /// The provider's configured name.
    pub(super) provider: String,
    /// Scheme, host and port: all of the URL that may be shown.
    pub(super) origin: String,
    /// The key that must not be shown.
    pub(super) api_key: Option<ApiKey>,
}

impl Reporter {
    /// An error in our own words.
    pub(super) fn error(&self, class: ErrorClass, what: impl fmt::Display) -> ProviderError {
        ProviderError::new(class, self.clean(&format!("{} {what}", self.provider)))
    }

    /// An HTTP answer that is not a success.
    pub(super) fn http(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> ProviderError {
        let detail = Detail::of_body(body);
        let class = classify(Some(status.as_u16()), &detail);
        let hint = match status.as_u16() {
            300..=399 => " (redirects are not followed; set base_url to where it points)",
            404 if !detail.structured => " (is base_url right?)",
            _ => "",
        };
        let colon = if detail.message.is_empty() { "" } else { ": " };
        let mut error =
            self.error(class, format_args!("answered {status}{hint}{colon}{}", detail.message));
        error.retry_after = retry_after(headers);
        error
    }

    /// An error object in the middle of an answer.
    pub(super) fn in_answer(&self, error: &str) -> ProviderError {
        let detail = Detail::of_error(&serde_json::from_str(error).unwrap_or(Value::Null));
        let status = detail.code.parse().ok().filter(|code| (400..600).contains(code));
        let message = if detail.message.is_empty() { "no reason given" } else { &detail.message };
        self.error(classify(status, &detail), format_args!("failed while answering: {message}"))
    }

    /// A failure below HTTP.
    pub(super) fn transport(&self, error: reqwest::Error) -> ProviderError {
        let error = error.without_url();
        let (class, what) = if error.is_connect() {
            (ErrorClass::Network, format!("cannot be reached at {}", self.origin))
        } else if error.is_timeout() {
            (ErrorClass::Timeout, "did not answer in time".to_owned())
        } else {
            (ErrorClass::Network, "broke off the connection".to_owned())
        };
        self.error(class, format_args!("{what}: {}", root_cause(&error)))
    }

    /// `text` on one line, without the key, and bounded. The key goes first: a cut could
    /// leave half of it.
    fn clean(&self, text: &str) -> String {
        let key = self.api_key.as_ref().map_or("", |key| key.expose());
        let text = if key.is_empty() { text.to_owned() } else { text.replace(key, "***") };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(MAX_MESSAGE) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// The innermost reason, which is the one that says something ("connection refused").
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

/// What the provider says about an error, in whichever of the usual shapes.
#[derive(Debug, Default)]
struct Detail {
    code: String,
    kind: String,
    message: String,
    /// Whether it came as a JSON object, hence from an API and not from some web server.
    structured: bool,
}

impl Detail {
    fn of_body(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::of_error(value.get("error").unwrap_or(&value)),
            Err(_) if text.trim_start().starts_with('<') => Self::default(),
            Err(_) => Self { message: text.into_owned(), ..Self::default() },
        }
    }

    /// `{"message", "type", "code"}`, `{"detail": …}`, or a bare text.
    fn of_error(error: &Value) -> Self {
        let text = |key: &str| match error.get(key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let message = match error.as_str() {
            Some(message) => message.to_owned(),
            None if error.get("message").is_some() => text("message"),
            None => text("detail"),
        };
        Self { code: text("code"), kind: text("type"), message, structured: error.is_object() }
    }

    fn is(&self, name: &str) -> bool {
        self.code == name || self.kind == name
    }

    fn is_context_length(&self) -> bool {
        const SAYINGS: [&str; 5] = [
            "context length",
            "context window",
            "context size",
            "prompt is too long",
            "maximum number of tokens",
        ];
        let message = self.message.to_lowercase();
        self.is("context_length_exceeded")
            || self.is("exceed_context_size_error")
            || SAYINGS.iter().any(|saying| message.contains(saying))
    }
}

/// The class, by the status where there is one, and else by the names in common use.
fn classify(status: Option<u16>, detail: &Detail) -> ErrorClass {
    match status {
        Some(401 | 403) => ErrorClass::Unauthorized,
        Some(402 | 429) => ErrorClass::RateLimited,
        _ if detail.is_context_length() => ErrorClass::ContextLength,
        _ if detail.is("model_not_found") => ErrorClass::ModelNotFound,
        Some(404) => ErrorClass::ModelNotFound,
        Some(408) => ErrorClass::Timeout,
        Some(400..=499) => ErrorClass::InvalidRequest,
        Some(500..) => ErrorClass::Unavailable,
        Some(_) => ErrorClass::Protocol,
        None => classify_name(detail),
    }
}

fn classify_name(detail: &Detail) -> ErrorClass {
    let any = |names: &[&str]| names.iter().any(|name| detail.is(name));
    if any(&["rate_limit_exceeded", "rate_limit_error", "insufficient_quota"]) {
        ErrorClass::RateLimited
    } else if any(&["invalid_api_key", "authentication_error", "permission_error"]) {
        ErrorClass::Unauthorized
    } else if any(&["invalid_request_error", "BadRequestError"]) {
        ErrorClass::InvalidRequest
    } else {
        ErrorClass::Unavailable
    }
}

#[cfg(test)]
mod tests;
