//! Turns: show, watch, stop, try again.

use std::collections::VecDeque;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use broker::Cursor;
use chrono::{DateTime, Utc};
use domain::session::{RetryTurn, SessionCommand, TurnError, TurnStatus};
use domain::{
    Credits, FinishReason, MessageId, SessionId, SettingsPatch, Timing, TurnId, Usage, WorkerId,
};
use eventstore::Position;
use projections::{AbandonedAttempt, TurnDetail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Accepted, execute};
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{OptionalBody, Params, PathId};
use crate::object::object;
use crate::position::MinPosition;
use crate::sse::Watching;
use crate::state::ApiState;
use crate::turn_stream::TurnStream;
use crate::{finished, position, sse, turn_record};

/// A turn as clients see it.
#[derive(Debug, Serialize)]
pub(crate) struct TurnView {
    id: TurnId,
    session_id: SessionId,
    status: TurnStatus,
    message_id: MessageId,
    answer_id: MessageId,
    /// The answer's content; null before the end and of a failed turn.
    content: Option<Box<RawValue>>,
    model: Option<String>,
    attempt: u32,
    /// Those that came to nothing, and what they used; nobody pays for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    abandoned_attempts: Vec<AbandonedAttempt>,
    worker_id: Option<WorkerId>,
    finish_reason: Option<FinishReason>,
    /// The code of what cut the answer short, if it wasn't the model or the user.
    stopped_by: Option<String>,
    error: Option<TurnError>,
    usage: Option<Usage>,
    /// What it cost; null before its end, and if nothing was charged.
    credits: Option<Credits>,
    timing: Option<Timing>,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    position: Position,
}

impl From<TurnDetail> for TurnView {
    fn from(detail: TurnDetail) -> Self {
        let TurnDetail { turn, answer } = detail;
        Self {
            id: turn.turn_id,
            session_id: turn.session_id,
            status: turn.status,
            message_id: turn.message_id,
            answer_id: turn.answer_id,
            content: answer.map(|answer| answer.content),
            model: turn.model,
            attempt: turn.attempt,
            abandoned_attempts: turn.abandoned,
            worker_id: turn.worker_id,
            finish_reason: turn.finish_reason,
            stopped_by: turn.stopped_by,
            error: turn.error,
            usage: turn.usage,
            credits: turn.credits,
            timing: turn.timing,
            requested_at: turn.requested_at,
            started_at: turn.started_at,
            ended_at: turn.ended_at,
            cancel_requested_at: turn.cancel_requested_at,
            position: turn.last_position,
        }
    }
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<TurnId>,
    Params(min): Params<MinPosition>,
) -> Result<Json<TurnView>, ApiError> {
    position::wait(&state, min.position()).await?;
    Ok(Json(turn_record::read(&state, &caller.actor, id).await?.into()))
}

/// `GET /v1/turns/{id}/stream`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamQuery {
    from: Option<From_>,
    min_position: Option<Position>,
}

/// Where to begin, whatever the client has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From_ {
    Start,
}

pub(crate) async fn stream(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<TurnId>,
    Params(query): Params<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let cursor = match last_event_id(&headers)? {
        Some(text) if query.from != Some(From_::Start) => sse::parse_id(text)?,
        _ => Cursor::default(),
    };
    position::wait(&state, query.min_position).await?;
    let detail = turn_record::read(&state, &caller.actor, id).await?;
    // The standard way to tell an EventSource that there is nothing to come back for.
    let frames = finished::rest(&detail, cursor)?;
    if frames.as_ref().is_some_and(VecDeque::is_empty) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let watched = open(&state, &caller, id, cursor, frames).await;
    let watching = Watching { turn_id: id, watched, abandon: None };
    Ok(sse::response(sse::turn_events(watching, &state)))
}

async fn open(
    state: &ApiState,
    caller: &Authenticated,
    id: TurnId,
    cursor: Cursor,
    frames: Option<VecDeque<std::sync::Arc<broker::Frame>>>,
) -> TurnStream {
    match frames {
        Some(frames) => TurnStream::stored(state, &caller.actor, id, cursor, frames),
        None => TurnStream::join(state, &caller.actor, id, cursor).await,
    }
}

/// The `Last-Event-ID` header; an empty one is none.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        ApiError::bad_request("invalid_last_event_id", "Last-Event-ID must be plain text")
    })?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

pub(crate) async fn cancel(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<TurnId>,
) -> Result<Response, ApiError> {
    let session_id = turn_record::read(&state, &caller.actor, id).await?.turn.session_id;
    let command = SessionCommand::CancelTurn { turn_id: id };
    let executed = execute(&state, &caller, session_id, command, None).await?;
    Ok(Accepted::from(&executed).respond(StatusCode::ACCEPTED))
}

/// `POST /v1/turns/{id}/retry`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    #[serde(deserialize_with = "object")]
    settings: SettingsPatch,
}

pub(crate) async fn retry(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<TurnId>,
    OptionalBody(retry): OptionalBody<Retry>,
) -> Result<Response, ApiError> {
    let session_id = turn_record::read(&state, &caller.actor, id).await?.turn.session_id;
    let command = SessionCommand::RetryTurn(RetryTurn {
        turn_id: id,
        new_turn_id: TurnId(state.bus.ids().next()),
        answer_id: MessageId(state.bus.ids().next()),
        settings: retry.settings,
    });
    let executed = execute(&state, &caller, session_id, command, None).await?;
    Ok(Accepted::from(&executed).respond(StatusCode::ACCEPTED))
}
