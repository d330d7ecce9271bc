//! `POST /v1/chat/completions`
//!
//! Without `session_id` a call is stateless to the client: it opens an ephemeral session,
//! hidden from lists, with the history that the client sent. With it, the session keeps the
//! history, and only what the client says after the last answer is added to it.

mod chunks;
mod rejoin;
mod request;
mod respond;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::session::{CreateCompletion, OnBusy, SendMessage, SessionCommand, TurnIds};
use domain::{MessageId, SessionId, TurnId};

use self::request::{ChatRequest, Conversation};
use self::respond::Completing;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::Body;
use crate::on_disconnect::OnDisconnect;
use crate::requested::{Request, Requested};
use crate::routes::messages::turn_ids;
use crate::state::ApiState;

pub(crate) async fn complete(
    State(state): State<ApiState>,
    caller: Authenticated,
    headers: HeaderMap,
    Body(request): Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let stream = request.stream();
    let include_usage = request.include_usage();
    let asked = OnDisconnect::asked(&headers)?;
    let asked = request.on_disconnect().or(asked);
    let session_id = request.session_id();
    let conversation = request.into_conversation()?;
    let model = model_name(&state, &conversation);
    let ids = turn_ids(&state);
    let (id, command) = match session_id {
        Some(id) => (id, send(conversation, ids)?),
        None => (SessionId(state.bus.ids().next()), create(&state, conversation, ids)),
    };
    // A call without a session belongs to its connection: nobody else asks for its answer. One
    // with an idempotency key is asked for again, perhaps at this moment.
    let is_tied = session_id.is_none() && !caller.may_repeat();
    let usual = if is_tied { state.on_disconnect } else { OnDisconnect::Continue };
    let request = Request {
        session_id: id,
        command,
        new_turn: ids.turn_id,
        on_disconnect: asked.unwrap_or(usual),
    };
    let requested = Requested::new(&state, &caller, request).await?;
    let Requested { accepted, turn_id, watched, abandon } = requested;
    let completing = Completing {
        state: state.clone(),
        watched,
        abandon,
        turn_id,
        session_id: accepted.session_id,
        model,
        created: created(turn_id),
        include_usage,
    };
    let mut response =
        if stream { completing.stream() } else { completing.whole().await.into_response() };
    accepted.mark(&mut response);
    Ok(response)
}

/// When the turn was requested, by its id: the same for everybody who asks for it.
fn created(turn_id: TurnId) -> u64 {
    turn_id.0.get_timestamp().map_or(0, |at| at.to_unix().0)
}

/// The name for the answer's `model` field.
fn model_name(state: &ApiState, conversation: &Conversation) -> String {
    let models = &state.bus.catalog().current().models;
    let default = || models.default_model().map(|model| model.name.clone());
    conversation.settings.model.clone().or_else(default).unwrap_or_default()
}

fn create(state: &ApiState, conversation: Conversation, ids: TurnIds) -> SessionCommand {
    let Conversation { settings, history, message } = conversation;
    let history_ids = history.iter().map(|_| MessageId(state.bus.ids().next())).collect();
    SessionCommand::CreateCompletion(CreateCompletion {
        ids,
        history_ids,
        settings,
        history,
        message,
    })
}

/// The session has the history; what the client repeats of it is left out.
fn send(conversation: Conversation, ids: TurnIds) -> Result<SessionCommand, ApiError> {
    let (settings, message) = conversation.into_newest()?;
    Ok(SessionCommand::SendMessage(SendMessage {
        ids,
        message,
        parent_id: None,
        settings: request::as_patch(settings),
        on_busy: OnBusy::Refuse,
    }))
}
