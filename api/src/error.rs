//! One error type for all routes.
//!
//! A handler's error is only data; the outermost layer gives it its body, for it knows the
//! request's id and whether the route speaks `application/problem+json` (RFC 9457) or
//! `OpenAI`'s shape.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker::BrokerError;
use commands::CommandError;
use domain::Causes;
use domain::catalog::CatalogRejection;
use domain::session::{Rejection, RejectionKind};
use eventstore::StoreError;
use serde_json::{Value, json};

use crate::auth::AuthError;
use crate::quota::refusal::QuotaRefusal;

/// An answer that is an error.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable code.
    pub code: String,
    /// What is wrong and what to do, for a person.
    pub detail: String,
    /// The field at fault.
    pub field: Option<String>,
    /// Seconds after which a try may succeed.
    pub retry_after: Option<u64>,
    /// The account that refuses, if one does.
    pub(crate) quota: Option<Box<QuotaRefusal>>,
}

impl ApiError {
    /// An error.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, code: code.to_owned(), detail, field: None, retry_after: None, quota: None }
    }

    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn unknown_route() -> Self {
        Self::not_found("route_not_found", "there is no such route")
    }

    pub(crate) fn wrong_method() -> Self {
        let detail = "the route doesn't take this method; see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub(crate) fn session_not_found() -> Self {
        Rejection::SessionNotFound.into()
    }

    pub(crate) fn turn_not_found() -> Self {
        Rejection::TurnNotFound.into()
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after: Some(1), ..error }
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn leaves_doubt(&self) -> bool {
        self.code == "outcome_unknown"
    }

    pub(crate) fn timed_out() -> Self {
        let detail = "it took too long and may or may not have been carried out; \
            a repeat with the same Idempotency-Key is safe";
        Self { code: "request_timeout".to_owned(), ..Self::unavailable(detail) }
    }

    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Causes(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong here")
    }

    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The body in the native routes' shape.
    pub(crate) fn problem(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        });
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        if let (Some(body), Some(quota)) = (body.as_object_mut(), &self.quota)
            && let Value::Object(members) = quota.members()
        {
            body.extend(members);
        }
        body
    }

    /// The body in `OpenAI`'s shape; in a stream, whose head names the request, without its id.
    pub(crate) fn openai(&self, request_id: Option<&str>) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => {
                self.quota.as_ref().map_or("rate_limit_error", |quota| quota.openai_type())
            }
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        let mut error = json!({
            "message": self.detail,
            "type": kind,
            "param": self.field,
            "code": self.code,
        });
        if let Some(id) = request_id {
            error["request_id"] = json!(id);
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body isn't read: the connection is of no use to the client now.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection.kind() {
            RejectionKind::NotFound => StatusCode::NOT_FOUND,
            RejectionKind::Conflict => StatusCode::CONFLICT,
            RejectionKind::Forbidden => StatusCode::FORBIDDEN,
            RejectionKind::Invalid => match rejection {
                Rejection::MessageTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            },
        };
        let error = Self::new(status, rejection.code(), rejection.to_string());
        match rejection.field() {
            Some(field) => error.with_field(field),
            None => error,
        }
    }
}

impl From<CatalogRejection> for ApiError {
    fn from(rejection: CatalogRejection) -> Self {
        let status = match rejection.kind() {
            RejectionKind::NotFound => StatusCode::NOT_FOUND,
            RejectionKind::Conflict => StatusCode::CONFLICT,
            RejectionKind::Forbidden => StatusCode::FORBIDDEN,
            RejectionKind::Invalid => StatusCode::BAD_REQUEST,
        };
        let error = Self::new(status, rejection.code(), rejection.to_string());
        match rejection.field() {
            Some(field) => error.with_field(field),
            None => error,
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(rejection) => rejection.into(),
            CommandError::Quota { rejection, account } => QuotaRefusal::error(rejection, account),
            CommandError::Catalog(rejection) => rejection.into(),
            CommandError::IdReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request; use a new one",
            ),
            CommandError::Contended => {
                let detail = "too many changes to the same thing at once; try again";
                let error = Self::new(StatusCode::CONFLICT, "contended", detail);
                Self { retry_after: Some(1), ..error }
            }
            CommandError::Store(error) => (&*error).into(),
            CommandError::Encoding(error) => Self::internal(&*error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        if matches!(error, StoreError::InDoubt) {
            tracing::warn!("the reply to an append was lost");
            let detail = "the database's reply was lost, so the request may or may not have been \
                carried out; repeat it with the same Idempotency-Key to learn which";
            return Self { code: "outcome_unknown".to_owned(), ..Self::unavailable(detail) };
        }
        if error.is_unavailable() {
            tracing::warn!(error = %Causes(error), "the database is unavailable");
            return Self::unavailable(
                "the database can't be reached; a repeat with the same Idempotency-Key is safe",
            );
        }
        let internal = Self::internal(error);
        match error {
            StoreError::Undecodable { .. } | StoreError::Repository(_) => {
                let detail = "a stored event can't be read by this version";
                Self { code: "unreadable_event".to_owned(), detail: detail.to_owned(), ..internal }
            }
            _ => internal,
        }
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        tracing::warn!(error = %Causes(&error), "the broker is unavailable");
        Self::unavailable("the message broker can't be reached")
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = %Causes(&error), "callers can't be authenticated");
            let unavailable = Self::unavailable(error.to_string());
            return Self { code: error.code().to_owned(), ..unavailable };
        }
        Self::new(StatusCode::UNAUTHORIZED, error.code(), error.to_string())
    }
}
