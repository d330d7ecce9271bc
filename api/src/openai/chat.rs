//! `POST /v1/chat/completions`
//!
//! Without `session_id` a call is stateless to the client: it opens an ephemeral session,
//! hidden from lists, with the history that the client sent. With it, the session keeps the
//! history, and only what the client says after the last answer is added to it.

mod request;
mod respond;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::session::{CreateCompletion, OnBusy, SendMessage, SessionCommand, TurnIds};
use domain::{MessageId, SessionId, TurnId};

use self::request::{ChatRequest, Conversation};
use self::respond::Completing;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::Body;
use crate::routes::messages::{start_and_watch, turn_ids};
use crate::routes::{Accepted, execute};
use crate::state::ApiState;
use crate::turn_stream::TurnStream;

pub(crate) async fn complete(
    State(state): State<ApiState>,
    caller: Authenticated,
    Body(request): Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let stream = request.stream();
    let include_usage = request.include_usage();
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
    let tied = session_id.is_none() && !caller.may_repeat();
    let starting = start(state.clone(), caller, id, command, ids.turn_id, tied);
    // In a task of its own: if the client leaves before this is done, its result is dropped
    // with the guard in it.
    let started = tokio::spawn(starting).await.map_err(|error| ApiError::internal(&error))??;
    let Started { accepted, turn_id, watched, abandon } = started;
    let completing = Completing {
        state: state.clone(),
        watched,
        abandon,
        turn_id,
        session_id: accepted.session_id,
        model,
        created: state.bus.clock().now().timestamp(),
        include_usage,
    };
    let mut response =
        if stream { completing.stream() } else { completing.whole().await.into_response() };
    accepted.mark(&mut response);
    Ok(response)
}

/// A turn that was requested and is watched.
struct Started {
    accepted: Accepted,
    turn_id: TurnId,
    watched: TurnStream,
    abandon: Option<Abandon>,
}

async fn start(
    state: ApiState,
    caller: Authenticated,
    id: SessionId,
    command: SessionCommand,
    new_turn: TurnId,
    tied: bool,
) -> Result<Started, ApiError> {
    let (accepted, turn_id, watched) =
        start_and_watch(&state, &caller, id, command, new_turn).await?;
    let session_id = accepted.session_id;
    let abandon = tied.then(|| Abandon { state, caller, session_id, turn_id, armed: true });
    Ok(Started { accepted, turn_id, watched, abandon })
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

/// Cancels a stateless call's turn when its connection goes away before the end.
pub(super) struct Abandon {
    state: ApiState,
    caller: Authenticated,
    session_id: SessionId,
    turn_id: TurnId,
    armed: bool,
}

impl Abandon {
    /// The turn has ended, or shall go on: there is nothing to cancel.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (state, caller) = (self.state.clone(), self.caller.clone());
        let (session_id, turn_id) = (self.session_id, self.turn_id);
        tokio::spawn(async move {
            let command = SessionCommand::CancelTurn { turn_id };
            if let Err(error) = execute(&state, &caller, session_id, command, None).await {
                tracing::debug!(code = error.code, %turn_id, "an abandoned turn was not cancelled");
            }
        });
    }
}
