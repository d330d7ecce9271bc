//! Read your writes: every write answers with its position in the log, every read takes one
//! to wait for, on whichever node.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use eventstore::Position;
use projections::ReadModel;
use serde::Deserialize;

use crate::error::ApiError;
use crate::state::ApiState;

/// The position of a write's last event.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("x-colloquy-position");

/// The query parameter of reads.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinPosition {
    min_position: Option<Position>,
}

impl MinPosition {
    pub(crate) fn position(&self) -> Option<Position> {
        self.min_position
    }
}

/// Waits until the read models contain `position`.
pub(crate) async fn wait(state: &ApiState, position: Option<Position>) -> Result<(), ApiError> {
    let Some(position) = position else { return Ok(()) };
    if position < 0 {
        let detail = "`min_position` must be a position that a write answered with";
        return Err(ApiError::bad_request("invalid_position", detail).with_field("min_position"));
    }
    let patience = state.position_patience;
    let waited = state.positions.wait_for(&ReadModel::ALL, position, patience).await;
    waited.map_err(|error| match error {
        projections::WaitError::Store(error) => error.into(),
        projections::WaitError::Timeout { .. } => {
            let detail = format!(
                "the read models haven't reached position {position} yet; try again shortly"
            );
            let error =
                ApiError::new(StatusCode::PRECONDITION_FAILED, "position_not_reached", detail);
            ApiError { retry_after: Some(1), ..error }
        }
    })
}

/// Waits until the read models contain all that is in the log now: what a read misses may
/// just not have arrived there.
pub(crate) async fn wait_for_head(state: &ApiState) -> Result<(), ApiError> {
    let head = state.store.head().await?;
    wait(state, Some(head)).await
}

/// Puts a write's position on its answer.
pub(crate) fn set(response: &mut Response, position: Option<Position>) {
    if let Some(position) = position {
        response.headers_mut().insert(POSITION, HeaderValue::from(position));
    }
}
