//! Who asks: taken from the token alone, never from a body or a path.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use commands::Caller;
use domain::{Actor, CommandId};

use crate::auth::Identity;
use crate::error::ApiError;
use crate::request::RequestId;
use crate::state::ApiState;

/// Makes a repeated request have no second effect.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An authenticated request's caller.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated {
    pub(crate) actor: Actor,
    /// The tier that the token names.
    pub(crate) named_tier: Option<String>,
    command_id: Option<CommandId>,
    request_id: String,
}

impl Authenticated {
    /// Whether the client has named its request, so that it can come again.
    pub(crate) fn may_repeat(&self) -> bool {
        self.command_id.is_some()
    }

    /// The same caller, of a request that was never named.
    pub(crate) fn without_key(&self) -> Self {
        Self { command_id: None, ..self.clone() }
    }

    /// The caller of a command; `command_id` is the body's, where it has one.
    pub(crate) fn caller(&self, command_id: Option<CommandId>) -> Caller {
        Caller {
            actor: self.actor.clone(),
            named_tier: self.named_tier.clone(),
            command_id: command_id.or_else(|| self.command_id.clone()),
            remembered_as: None,
            correlation_id: self.request_id.clone(),
        }
    }
}

impl FromRequestParts<ApiState> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let header = parts.headers.get(AUTHORIZATION);
        // What isn't text is no token; the authenticator says so.
        let authorization = header.map(|value| value.to_str().unwrap_or_default());
        let Identity { actor, named_tier } =
            state.authenticator.authenticate(authorization).await?;
        let command_id = key(&parts.headers)?;
        let request_id =
            parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
        Ok(Self { actor, named_tier, command_id, request_id })
    }
}

/// The request's key; with more than one it isn't clear which.
fn key(headers: &HeaderMap) -> Result<Option<CommandId>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), another) = (keys.next(), keys.next()) else { return Ok(None) };
    let id = value.to_str().ok().filter(|_| another.is_none()).and_then(|text| text.parse().ok());
    let invalid = || {
        let detail = "Idempotency-Key must be 1 to 255 printable characters, given once";
        ApiError::bad_request("invalid_idempotency_key", detail)
    };
    id.ok_or_else(invalid).map(Some)
}
