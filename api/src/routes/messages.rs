//! Messages: send, list, clear.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::session::{NewMessage, OnBusy, SendMessage, SessionCommand, TurnIds};
use domain::{ContentPart, FinishReason, MessageId, Role, SessionId, SettingsPatch, TurnId, Usage};
use eventstore::Position;
use projections::{HistoryMessage, MessageOrder};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Accepted, List, execute};
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{Body, Params, PathId};
use crate::object::object;
use crate::on_disconnect::OnDisconnect;
use crate::requested::{Request, Requested};
use crate::sse::Watching;
use crate::state::ApiState;
use crate::{cursor, position, sse};

/// Content as a client may write it: a text, or a list of parts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

impl Content {
    pub(crate) fn into_parts(self) -> Vec<ContentPart> {
        match self {
            Self::Text(text) => vec![ContentPart::text(text)],
            Self::Parts(parts) => parts,
        }
    }
}

/// `POST /v1/sessions/{id}/messages`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserMessage {
    content: Content,
    #[serde(default)]
    role: SenderRole,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    parent_id: Option<MessageId>,
    #[serde(default, deserialize_with = "object")]
    settings: SettingsPatch,
    #[serde(default)]
    on_busy: OnBusy,
}

/// Who may speak through this route.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SenderRole {
    #[default]
    User,
    Tool,
}

impl NewUserMessage {
    pub(crate) fn into_command(self, ids: TurnIds) -> SendMessage {
        let role = match self.role {
            SenderRole::User => Role::User,
            SenderRole::Tool => Role::Tool,
        };
        SendMessage {
            ids,
            message: NewMessage { role, content: self.content.into_parts(), name: self.name },
            parent_id: self.parent_id,
            settings: self.settings,
            on_busy: self.on_busy,
        }
    }
}

/// New ids for a turn.
pub(crate) fn turn_ids(state: &ApiState) -> TurnIds {
    let ids = state.bus.ids();
    TurnIds {
        turn_id: TurnId(ids.next()),
        message_id: MessageId(ids.next()),
        answer_id: MessageId(ids.next()),
    }
}

/// Answers 202 at once, or streams the turn to a client that accepts `text/event-stream`.
pub(crate) async fn send(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    headers: HeaderMap,
    Body(new): Body<NewUserMessage>,
) -> Result<Response, ApiError> {
    let asked = OnDisconnect::asked(&headers)?;
    let ids = turn_ids(&state);
    let command = SessionCommand::SendMessage(new.into_command(ids));
    if !wants_stream(&headers) {
        let executed = execute(&state, &caller, id, command, None).await?;
        return Ok(Accepted::from(&executed).respond(StatusCode::ACCEPTED));
    }
    let on_disconnect = asked.unwrap_or(OnDisconnect::Continue);
    let request = Request { session_id: id, command, new_turn: ids.turn_id, on_disconnect };
    let requested = Requested::new(&state, &caller, request).await?;
    let Requested { accepted, turn_id, watched, abandon } = requested;
    let watching = Watching { turn_id, watched, abandon };
    let mut response = sse::response(sse::turn_events(watching, &state));
    accepted.mark(&mut response);
    Ok(response)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

/// A message as clients see it.
#[derive(Debug, Serialize)]
pub(crate) struct MessageView {
    id: MessageId,
    parent_id: Option<MessageId>,
    role: Role,
    content: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<FinishReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    created_at: DateTime<Utc>,
    position: Position,
}

impl From<HistoryMessage> for MessageView {
    fn from(item: HistoryMessage) -> Self {
        let HistoryMessage { message, model } = item;
        Self {
            id: message.message_id,
            parent_id: message.parent_id,
            role: message.role,
            content: message.content,
            name: message.name,
            turn_id: message.turn_id,
            model,
            finish_reason: message.finish_reason,
            usage: message.usage,
            created_at: message.created_at,
            position: message.position,
        }
    }
}

/// `GET /v1/sessions/{id}/messages`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    #[serde(default)]
    order: Order,
    min_position: Option<Position>,
}

/// Oldest first, or newest first.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Asc,
    Desc,
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Params(query): Params<ListQuery>,
) -> Result<Json<List<MessageView>>, ApiError> {
    let limit = cursor::limit(query.limit)?;
    let after = cursor::decode(query.cursor.as_deref())?;
    let order = match query.order {
        Order::Asc => MessageOrder::OldestFirst,
        Order::Desc => MessageOrder::NewestFirst,
    };
    position::wait(&state, query.min_position).await?;
    let read = || projections::list_messages(state.pool(), &caller.actor, id, order, after, limit);
    let page = match read().await? {
        Some(page) => page,
        None => {
            position::wait_for_head(&state).await?;
            read().await?.ok_or_else(ApiError::session_not_found)?
        }
    };
    let next_cursor = page.next.and_then(|next| cursor::encode(&next));
    let data = page.items.into_iter().map(MessageView::from).collect();
    Ok(Json(List { data, has_more: next_cursor.is_some(), next_cursor }))
}

pub(crate) async fn clear(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
) -> Result<Response, ApiError> {
    let executed = execute(&state, &caller, id, SessionCommand::ClearHistory, None).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    position::set(&mut response, executed.position);
    Ok(response)
}
