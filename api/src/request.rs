//! What surrounds every request: its id, its one log line, the shape of its error.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::quota::headers::{self, About};
use crate::state::ApiState;

/// The request's id: the client's, or one made here; in every answer, log line and event.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request at hand.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The outermost layer.
pub(crate) async fn observe(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = given_id(&request).unwrap_or_else(|| state.bus.ids().next().to_string());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(none)".to_owned(), |path| path.as_str().to_owned());
    let openai = ["/v1/chat/", "/v1/models"].iter().any(|p| request.uri().path().starts_with(p));
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = if openai {
        // It waits for an answer, whose provider has timeouts of its own.
        next.run(request).await
    } else {
        // A moment more than a body has to arrive, which has an error of its own.
        let limit = state.request_timeout + Duration::from_secs(1);
        let run = tokio::time::timeout(limit, next.run(request)).await;
        run.unwrap_or_else(|_| ApiError::timed_out().into_response())
    };
    let code = response.extensions_mut().remove::<ApiError>().map(|error| {
        give_body(&mut response, &error, &id, openai);
        if let Some(quota) = &error.quota {
            quota.set_headers(response.headers_mut(), state.bus.clock().now());
        }
        error.code
    });
    if let Some(About(account)) = response.extensions_mut().remove() {
        headers::set(response.headers_mut(), &account, state.bus.clock().now());
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let quiet = matches!(route.as_str(), "/livez" | "/readyz" | "/health");
    if !quiet {
        tracing::info!(
            request.id = %id, %method, %route, status = response.status().as_u16(),
            code = code.as_deref(), duration_us = started.elapsed().as_micros(),
            "request"
        );
    }
    response
}

/// An id is taken over if it can't disturb a log or a header.
fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

fn give_body(response: &mut Response, error: &ApiError, id: &str, openai: bool) {
    let (body, kind) = if openai {
        (error.openai(Some(id)), "application/json")
    } else {
        (error.problem(id), "application/problem+json")
    };
    let body = body.to_string();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = Body::from(body);
}
