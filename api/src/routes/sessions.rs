//! Sessions: open, list, show, change, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::session::{CreateSession, Session, SessionCommand, SessionStatus, UpdateSession};
use domain::{SessionId, Settings, SettingsPatch, TurnId, UserId};
use eventstore::Position;
use projections::{SessionFilter, SessionRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Accepted, List, execute};
use crate::caller::Authenticated;
use crate::cursor;
use crate::error::ApiError;
use crate::extract::{Body, OptionalBody, Params, PathId};
use crate::object::{object, optional_object};
use crate::position::{self, MinPosition};
use crate::state::ApiState;

/// A session as clients see it.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView {
    id: SessionId,
    user_id: UserId,
    title: Option<String>,
    status: SessionStatus,
    settings: Box<RawValue>,
    tags: Vec<String>,
    metadata: Box<RawValue>,
    ephemeral: bool,
    message_count: i32,
    last_message_preview: Option<String>,
    running_turn_id: Option<TurnId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    position: Position,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        let running_turn_id = row.running_turn_id();
        Self {
            id: row.session_id,
            user_id: row.user_id,
            title: row.title,
            status: row.status,
            settings: row.settings,
            tags: row.tags,
            metadata: row.metadata,
            ephemeral: row.ephemeral,
            message_count: row.message_count,
            last_message_preview: row.last_message_preview,
            running_turn_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            position: row.last_position,
        }
    }
}

/// `POST /v1/sessions`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewSession {
    pub(crate) title: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(crate) settings: Settings,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: BTreeMap<String, Value>,
}

impl From<NewSession> for CreateSession {
    fn from(new: NewSession) -> Self {
        let NewSession { title, settings, tags, metadata } = new;
        Self { title, settings, tags, metadata, ephemeral: false }
    }
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Authenticated,
    OptionalBody(new): OptionalBody<NewSession>,
) -> Result<Response, ApiError> {
    let id = SessionId(state.bus.ids().next());
    let command = SessionCommand::CreateSession(new.into());
    let executed = execute(&state, &caller, id, command, None).await?;
    let accepted = Accepted::from(&executed);
    let id = accepted.session_id;
    let view = match &executed.session {
        Some(session) => fresh_view(id, session, accepted.position)?,
        None => Json(read(&state, &caller, id, accepted.position).await?).into_response(),
    };
    let mut response = (StatusCode::CREATED, view).into_response();
    accepted.mark(&mut response);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sessions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The view of a session from the state it was left in, before any read model has it.
fn fresh_view(
    id: SessionId,
    session: &Session,
    position: Option<Position>,
) -> Result<Response, ApiError> {
    let raw =
        |json: serde_json::Result<Box<RawValue>>| json.map_err(|error| ApiError::internal(&error));
    let (Some((_, user_id)), Some(created_at)) = (session.owner.clone(), session.created_at) else {
        return Err(ApiError::session_not_found());
    };
    let newest = session.leaf.and_then(|leaf| session.messages.get(&leaf));
    let view = SessionView {
        id,
        user_id,
        title: session.title.clone(),
        status: session.status,
        settings: raw(serde_json::value::to_raw_value(&session.settings))?,
        tags: session.tags.clone(),
        metadata: raw(serde_json::value::to_raw_value(&session.metadata))?,
        ephemeral: session.ephemeral,
        message_count: i32::try_from(session.messages.len()).unwrap_or(i32::MAX),
        last_message_preview: newest.map(|message| message.text().chars().take(200).collect()),
        running_turn_id: session.active.last().copied(),
        created_at,
        updated_at: session.updated_at.unwrap_or(created_at),
        position: position.unwrap_or_default(),
    };
    Ok(Json(view).into_response())
}

async fn read(
    state: &ApiState,
    caller: &Authenticated,
    id: SessionId,
    min_position: Option<Position>,
) -> Result<SessionView, ApiError> {
    position::wait(state, min_position).await?;
    Ok(find(state, caller, id).await?.into())
}

/// The session, though it may have been opened a moment ago on another node.
pub(crate) async fn find(
    state: &ApiState,
    caller: &Authenticated,
    id: SessionId,
) -> Result<SessionRow, ApiError> {
    let look = || projections::get_session(state.pool(), &caller.actor, id);
    if let Some(row) = look().await? {
        return Ok(row);
    }
    position::wait_for_head(state).await?;
    look().await?.ok_or_else(ApiError::session_not_found)
}

/// `GET /v1/sessions`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    archived: Option<bool>,
    tag: Option<String>,
    user_id: Option<UserId>,
    min_position: Option<Position>,
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Authenticated,
    Params(query): Params<ListQuery>,
) -> Result<Json<List<SessionView>>, ApiError> {
    let limit = cursor::limit(query.limit)?;
    let after = cursor::decode(query.cursor.as_deref())?;
    position::wait(&state, query.min_position).await?;
    let filter = SessionFilter { archived: query.archived, tag: query.tag, user_id: query.user_id };
    let page =
        projections::list_sessions(state.pool(), &caller.actor, &filter, after, limit).await?;
    let next_cursor = page.next.and_then(|next| cursor::encode(&next));
    let data = page.items.into_iter().map(SessionView::from).collect();
    Ok(Json(List { data, has_more: next_cursor.is_some(), next_cursor }))
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Params(min): Params<MinPosition>,
) -> Result<Json<SessionView>, ApiError> {
    Ok(Json(read(&state, &caller, id, min.position()).await?))
}

/// `PATCH /v1/sessions/{id}`: what is absent stays, `"title": null` removes the title.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent, null and a value are three things here")]
pub(crate) struct SessionChange {
    #[serde(deserialize_with = "present")]
    pub(crate) title: Option<Option<String>>,
    #[serde(deserialize_with = "optional_object")]
    pub(crate) settings: Option<SettingsPatch>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) metadata: Option<BTreeMap<String, Value>>,
    pub(crate) archived: Option<bool>,
}

#[expect(clippy::option_option, reason = "absent, null and a value are three things here")]
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

impl From<SessionChange> for UpdateSession {
    fn from(change: SessionChange) -> Self {
        let SessionChange { title, settings, tags, metadata, archived } = change;
        Self { title, settings, tags, metadata, archived }
    }
}

pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Body(change): Body<SessionChange>,
) -> Result<Response, ApiError> {
    let command = SessionCommand::UpdateSession(change.into());
    let executed = execute(&state, &caller, id, command, None).await?;
    let accepted = Accepted::from(&executed);
    // As the next GET will show it; where nothing was to change, as the log has it now.
    let shown = match accepted.position {
        Some(position) => read(&state, &caller, id, Some(position)).await,
        None => {
            position::wait_for_head(&state).await?;
            read(&state, &caller, id, None).await
        }
    };
    let mut response = match (shown, &executed.session) {
        (Ok(view), _) => Json(view).into_response(),
        // The change stands, though the read models can't show it yet.
        (Err(_), Some(session)) => fresh_view(id, session, accepted.position)?,
        (Err(error), None) => return Err(error),
    };
    accepted.mark(&mut response);
    Ok(response)
}

pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
) -> Result<Response, ApiError> {
    let executed = execute(&state, &caller, id, SessionCommand::DeleteSession, None).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    position::set(&mut response, executed.position);
    Ok(response)
}
