//! `POST /v1/commands`: any command to a session or an account, typed by its `command` field.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::{RetryTurn, SessionCommand, UpdateSession};
use domain::{CommandId, MessageId, SessionId, SettingsPatch, TurnId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Accepted;
use super::messages::{NewUserMessage, turn_ids};
use super::sessions::{NewSession, SessionChange};
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::Body;
use crate::object::object;
use crate::quota::amounts::Fields;
use crate::state::ApiState;
use crate::{quota, turn_record};

/// What every command may carry; the other fields are the command's own.
#[derive(Debug, Deserialize)]
pub(crate) struct CommandRequest {
    command: String,
    /// Makes a repeat have no second effect, like `Idempotency-Key`.
    command_id: Option<CommandId>,
    session_id: Option<SessionId>,
    turn_id: Option<TurnId>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

const COMMANDS: &str = "CreateSession, UpdateSession, RenameSession, ChangeSettings, \
    ArchiveSession, RestoreSession, DeleteSession, ClearHistory, SendMessage, RetryTurn, CancelTurn";

pub(crate) async fn execute(
    State(state): State<ApiState>,
    caller: Authenticated,
    Body(request): Body<CommandRequest>,
) -> Result<Response, ApiError> {
    let command_id = request.command_id.clone();
    if quota::command::COMMANDS.contains(&request.command.as_str()) {
        return to_account(&state, &caller, request).await;
    }
    let session_id = session_of(&state, &caller, &request).await?;
    let command = command(&state, request)?;
    let executed = super::execute(&state, &caller, session_id, command, command_id).await?;
    Ok(Accepted::from(&executed).respond(StatusCode::ACCEPTED))
}

/// Carries out a command to an account: by default to the caller's own.
async fn to_account(
    state: &ApiState,
    caller: &Authenticated,
    request: CommandRequest,
) -> Result<Response, ApiError> {
    let CommandRequest { command, command_id, session_id, turn_id, fields } = request;
    for (field, is_given) in [("session_id", session_id.is_some()), ("turn_id", turn_id.is_some())]
    {
        if is_given {
            let detail = format!("{command} is about an account: it takes no `{field}`");
            return Err(ApiError::bad_request("invalid_body", detail).with_field(field));
        }
    }
    let mut fields = Fields::from(fields);
    let user_id = fields.value::<UserId>("user_id")?;
    let command = (command.as_str(), fields);
    let changed = quota::execute::execute(state, caller, user_id, command, command_id).await?;
    Ok(changed.respond(StatusCode::ACCEPTED))
}

/// The session named, or that of the turn named, or a new one.
async fn session_of(
    state: &ApiState,
    caller: &Authenticated,
    request: &CommandRequest,
) -> Result<SessionId, ApiError> {
    let name = request.command.as_str();
    if !COMMANDS.split(", ").any(|known| known == name) {
        return Err(unknown_command(name));
    }
    match (name, request.session_id, request.turn_id) {
        ("CreateSession", None, None) => Ok(SessionId(state.bus.ids().next())),
        ("CreateSession", ..) => {
            let detail = "CreateSession takes no id: the server makes it";
            Err(ApiError::bad_request("invalid_body", detail))
        }
        (_, Some(id), _) => Ok(id),
        (_, None, Some(turn)) => {
            Ok(turn_record::read(state, &caller.actor, turn).await?.turn.session_id)
        }
        (_, None, None) => Err(missing("session_id")),
    }
}

fn command(state: &ApiState, request: CommandRequest) -> Result<SessionCommand, ApiError> {
    let turn_id = request.turn_id;
    let turn = || turn_id.ok_or_else(|| missing("turn_id"));
    let fields = request.fields;
    let update = |update| Ok(SessionCommand::UpdateSession(update));
    match request.command.as_str() {
        "CreateSession" => Ok(SessionCommand::CreateSession(read::<NewSession>(fields)?.into())),
        "UpdateSession" => update(read::<SessionChange>(fields)?.into()),
        "RenameSession" => {
            let Title { title } = read(fields)?;
            update(UpdateSession { title: Some(title), ..UpdateSession::default() })
        }
        "ChangeSettings" => {
            let Change { settings } = read(fields)?;
            update(UpdateSession { settings: Some(settings), ..UpdateSession::default() })
        }
        "ArchiveSession" => {
            read::<Nothing>(fields)?;
            update(UpdateSession { archived: Some(true), ..UpdateSession::default() })
        }
        "RestoreSession" => {
            read::<Nothing>(fields)?;
            update(UpdateSession { archived: Some(false), ..UpdateSession::default() })
        }
        "DeleteSession" => read::<Nothing>(fields).map(|_| SessionCommand::DeleteSession),
        "ClearHistory" => read::<Nothing>(fields).map(|_| SessionCommand::ClearHistory),
        "SendMessage" => {
            let message: NewUserMessage = read(fields)?;
            Ok(SessionCommand::SendMessage(message.into_command(turn_ids(state))))
        }
        "RetryTurn" => {
            let Optional { settings } = read(fields)?;
            Ok(SessionCommand::RetryTurn(RetryTurn {
                turn_id: turn()?,
                new_turn_id: TurnId(state.bus.ids().next()),
                answer_id: MessageId(state.bus.ids().next()),
                settings,
            }))
        }
        "CancelTurn" => {
            read::<Nothing>(fields)?;
            Ok(SessionCommand::CancelTurn { turn_id: turn()? })
        }
        other => Err(unknown_command(other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Title {
    title: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(deserialize_with = "object")]
    settings: SettingsPatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Optional {
    #[serde(default, deserialize_with = "object")]
    settings: SettingsPatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn read<T: serde::de::DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| {
        ApiError::bad_request("invalid_body", format!("the command doesn't fit: {error}"))
    })
}

fn unknown_command(name: &str) -> ApiError {
    let holds = ["ReserveQuota", "ReleaseReservation", "ExpireReservation"];
    let detail = if holds.contains(&name) {
        format!("{name} is not for clients: holds come and go with turns")
    } else {
        let to_accounts = quota::command::COMMANDS.join(", ");
        format!("there is no command {name:?}; there are {COMMANDS}, {to_accounts}")
    };
    ApiError::bad_request("unknown_command", detail).with_field("command")
}

fn missing(field: &str) -> ApiError {
    ApiError::bad_request("invalid_body", format!("`{field}` is missing")).with_field(field)
}
