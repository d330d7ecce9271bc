//! Extractors whose refusals are clear: what is wrong, where, and under a stable code.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use domain::UserId;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::json_limits;
use crate::state::ApiState;

/// A JSON body, whatever its content type says.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let bytes = bytes(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be missing.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<ApiState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let bytes = bytes(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

async fn bytes(request: Request, state: &ApiState) -> Result<Bytes, ApiError> {
    let reading = Bytes::from_request(request, state);
    let read = tokio::time::timeout(state.request_timeout, reading).await.map_err(|_| {
        let detail = "the body did not arrive in time";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
    })?;
    read.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(error)
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE =>
        {
            let detail = format!("the body has more than {} bytes", state.max_body_bytes);
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        }
        _ => ApiError::bad_request("unreadable_body", "the body could not be read to its end"),
    })
}

/// JSON of the expected shape, or what is wrong with it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take a list for an object's fields in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::bad_request("invalid_body", "the body must be a JSON object"));
    }
    json_limits::check(bytes)
        .map_err(|refused| ApiError::bad_request("invalid_body", refused.detail()))?;
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            ApiError::bad_request("invalid_body", format!("the body doesn't fit: {error}"))
        } else {
            ApiError::bad_request("malformed_json", format!("the body is no JSON: {error}"))
        }
    })
}

/// The query's parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let detail = "the query must not hold the character U+0000";
            return Err(ApiError::bad_request("invalid_query", detail));
        }
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection| {
            let detail = format!("the query doesn't fit: {}", rejection.body_text());
            ApiError::bad_request("invalid_query", detail)
        })
    }
}

/// The id in the path. One that can't be an id names nothing that exists.
pub(crate) struct PathId<T>(pub(crate) T);

impl<T: std::str::FromStr + Send> FromRequestParts<ApiState> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self)
            .ok_or_else(|| ApiError::bad_request("invalid_id", "the id in the path is no UUID"))
    }
}

/// The user in the path, whose id may be any printable text: percent-encoded.
pub(crate) struct PathUser(pub(crate) UserId);

impl FromRequestParts<ApiState> for PathUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let user_id = path.ok().and_then(|Path(text)| text.parse().ok());
        user_id.map(Self).ok_or_else(|| {
            let detail = "the user id in the path must be 1 to 255 printable characters";
            ApiError::bad_request("invalid_id", detail)
        })
    }
}
