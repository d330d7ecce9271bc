//! `GET /v1/audit/sessions/{id}`: what happened to a session, and what it comes to.

use axum::Json;
use axum::extract::State;
use domain::SessionId;
use domain::session::{Rejection, SESSION, Session, SessionEvent};
use eventstore::{Position, RecordedEvent};
use serde::{Deserialize, Serialize};

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{Params, PathId};
use crate::state::ApiState;

/// Events of one answer where the client doesn't say, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
/// Events read at once.
const PAGE: i64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// As if nothing had happened after this position.
    as_of: Option<Position>,
    /// Only events after this version of the session.
    after: Option<i64>,
    limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct SessionAudit {
    session_id: SessionId,
    as_of: Option<Position>,
    /// Events that the state was folded from.
    version: i64,
    /// What they come to.
    state: Session,
    events: Vec<RecordedEvent>,
    /// Pass the last event's `sequence` as `after` for the rest.
    has_more: bool,
}

pub(crate) async fn session(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<SessionAudit>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("`limit` must be between 1 and {MAX_LIMIT}");
        return Err(ApiError::bad_request("invalid_limit", detail).with_field("limit"));
    }
    let (after, as_of) = (query.after.unwrap_or(0), query.as_of.unwrap_or(Position::MAX));
    let mut audit = SessionAudit {
        session_id: id,
        as_of: query.as_of,
        version: 0,
        state: Session::default(),
        events: Vec::new(),
        has_more: false,
    };
    loop {
        let stream = id.to_string();
        let page = state.store.read_stream(SESSION, &stream, audit.version, PAGE).await?;
        let full = i64::try_from(page.len()).is_ok_and(|count| count == PAGE);
        for event in page {
            if event.position > as_of {
                return allowed(audit, &caller);
            }
            audit.state.apply(&event.decode::<SessionEvent>()?);
            audit.version = event.sequence;
            if event.sequence <= after {
                continue;
            }
            if audit.events.len() < limit {
                audit.events.push(event);
            } else {
                audit.has_more = true;
            }
        }
        if !full {
            return allowed(audit, &caller);
        }
    }
}

/// Also deleted sessions are shown, to those who could see them.
fn allowed(audit: SessionAudit, caller: &Authenticated) -> Result<Json<SessionAudit>, ApiError> {
    match &audit.state.owner {
        Some((tenant, user)) if caller.actor.may_see(tenant, user) => Ok(Json(audit)),
        _ => Err(Rejection::SessionNotFound.into()),
    }
}
