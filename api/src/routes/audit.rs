//! `GET /v1/audit/sessions/{id}`: what happened to a session, and what it comes to.

pub(crate) mod accounts;

use ::commands::{Replay, ReplayRange, replay_session};
use axum::Json;
use axum::extract::State;
use domain::SessionId;
use domain::session::Session;
use eventstore::Position;
use serde::{Deserialize, Serialize};

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{Params, PathId};
use crate::state::ApiState;

/// Events of one answer where the client doesn't say, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// As if nothing had happened after this position.
    as_of: Option<Position>,
    /// Only events after this version; for the next page, the last event's
    /// `sequence`.
    after: Option<i64>,
    limit: Option<usize>,
}

impl AuditQuery {
    fn range(&self) -> Result<ReplayRange, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let detail = format!("`limit` must be between 1 and {MAX_LIMIT}");
            return Err(ApiError::bad_request("invalid_limit", detail).with_field("limit"));
        }
        let as_of = self.as_of.unwrap_or(Position::MAX);
        Ok(ReplayRange { as_of, after: self.after.unwrap_or(0), limit })
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct SessionAudit {
    session_id: SessionId,
    as_of: Option<Position>,
    #[serde(flatten)]
    replay: Replay<Session>,
}

/// Also deleted sessions are shown, to those who could see them.
pub(crate) async fn session(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<SessionAudit>, ApiError> {
    let replay = replay_session(&state.store, id, query.range()?).await?;
    match &replay.state.owner {
        Some((tenant, user)) if caller.actor.may_see(tenant, user) => {
            Ok(Json(SessionAudit { session_id: id, as_of: query.as_of, replay }))
        }
        _ => Err(ApiError::session_not_found()),
    }
}
