//! The native routes, a file for each noun.

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod commands;
pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod quota;
pub(crate) mod session_events;
pub(crate) mod sessions;
pub(crate) mod turns;
pub(crate) mod usage;

use ::commands::{Billed, Caller, Executed};
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::quota::AccountView;
use domain::session::SessionCommand;
use domain::{CommandId, MessageId, SessionId, TurnId};
use eventstore::Position;
use serde::Serialize;

use crate::announce::announce;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::position;
use crate::quota::headers::About;
use crate::state::ApiState;
use crate::waiting_turns::Place;

/// The session an answer is about.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("x-colloquy-session-id");
/// The turn an answer is about.
pub(crate) const TURN_ID: HeaderName = HeaderName::from_static("x-colloquy-turn-id");
/// The message that was sent.
pub(crate) const MESSAGE_ID: HeaderName = HeaderName::from_static("x-colloquy-message-id");

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub(crate) next_cursor: Option<String>,
    pub(crate) has_more: bool,
}

/// The answer to a command.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    pub(crate) session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_id: Option<MessageId>,
    /// Null when there was nothing to change.
    pub(crate) position: Option<Position>,
    /// Whether it had been carried out before.
    pub(crate) repeated: bool,
    /// The account that pays for the turn that was requested.
    #[serde(skip)]
    account: Option<Box<AccountView>>,
}

impl From<&Executed> for Accepted {
    fn from(executed: &Executed) -> Self {
        let reply = &executed.reply;
        let billed = executed.billed.as_ref().filter(|_| reply.answer_id.is_some());
        Self {
            session_id: reply.session_id,
            turn_id: reply.turn_id,
            message_id: reply.message_id,
            answer_id: reply.answer_id,
            position: executed.position,
            repeated: executed.repeated,
            account: billed.map(|billed| billed.account.clone()),
        }
    }
}

impl Accepted {
    pub(crate) fn respond(&self, status: StatusCode) -> Response {
        let mut response = (status, Json(self)).into_response();
        self.mark(&mut response);
        response
    }

    /// Puts the ids, and how the account stands, on a response as headers.
    pub(crate) fn mark(&self, response: &mut Response) {
        position::set(response, self.position);
        let ids = [
            (SESSION_ID, Some(self.session_id.to_string())),
            (TURN_ID, self.turn_id.map(|id| id.to_string())),
            (MESSAGE_ID, self.message_id.map(|id| id.to_string())),
        ];
        for (name, id) in ids {
            if let Some(Ok(value)) = id.map(|id| HeaderValue::from_str(&id)) {
                response.headers_mut().insert(name, value);
            }
        }
        if let Some(account) = &self.account {
            response.extensions_mut().insert(About(account.clone()));
        }
    }
}

/// Carries a command out, whether or not the client stays to hear of it.
pub(crate) async fn execute(
    state: &ApiState,
    authenticated: &Authenticated,
    session_id: SessionId,
    command: SessionCommand,
    command_id: Option<CommandId>,
) -> Result<Executed, ApiError> {
    let caller = authenticated.caller(command_id);
    let state = state.clone();
    let work = tokio::spawn(async move {
        let place = place(&state, &command, &caller).await?;
        let mut executed = state.bus.execute(session_id, &command, &caller).await?;
        if let (Some(place), Some(position), false) = (place, executed.position, executed.repeated)
        {
            place.take(position);
        }
        announce(&state, &caller.actor.tenant_id, &executed).await;
        if executed.repeated && executed.reply.answer_id.is_some() {
            executed.billed = stands(&state, executed.reply.session_id).await;
        }
        Ok(executed)
    });
    work.await.map_err(|error| ApiError::internal(&error))?
}

/// A place for the turn that `command` requests, if it does; none for a repeat where there is no
/// room, for it has its place.
async fn place(
    state: &ApiState,
    command: &SessionCommand,
    caller: &Caller,
) -> Result<Option<Place>, ApiError> {
    use SessionCommand::{CreateCompletion, RetryTurn, SendMessage};
    if !matches!(command, SendMessage(_) | RetryTurn(_) | CreateCompletion(_)) {
        return Ok(None);
    }
    let (tenant_id, user_id) = (&caller.actor.tenant_id, &caller.actor.user_id);
    let full = match state.waiting.place(tenant_id).await {
        Ok(place) => return Ok(Some(place)),
        Err(full) => full,
    };
    let Some(command_id) = &caller.command_id else { return Err(full) };
    let (tenant, user) = (tenant_id.as_str(), user_id.as_str());
    let first_time = state.store.find_command(tenant, user, command_id.as_str()).await?;
    if first_time.is_some() { Ok(None) } else { Err(full) }
}

/// How the account of a session's owner stands, for the answer to a repeat. The answer is good
/// without it.
async fn stands(state: &ApiState, session_id: SessionId) -> Option<Billed> {
    let owner = state.bus.load(session_id).await.ok()?.owner.clone()?;
    let account = state.bus.account(&owner).await.ok()?;
    let account = account.is_open().then(|| account.view(state.bus.clock().now()))?;
    Some(Billed { events: Vec::new(), account: Box::new(account) })
}
