//! What can be asked of a session. Ids are chosen by the caller, so that deciding again after
//! a conflict gives the same events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::completion::{Completion, FinishReason, Usage};
use crate::content::{ContentPart, Role};
use crate::ids::{MessageId, TurnId, WorkerId};
use crate::session::event::TurnError;
use crate::settings::{Settings, SettingsPatch};

/// What to do when a turn of the session is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBusy {
    /// Refuse the message.
    #[default]
    Refuse,
    /// Stop the running turn and go on with this message.
    Interrupt,
}

/// The ids a new turn will use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TurnIds {
    /// The turn.
    pub turn_id: TurnId,
    /// The message that is sent.
    pub message_id: MessageId,
    /// The answer to come.
    pub answer_id: MessageId,
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CreateSession {
    /// A title for people.
    pub title: Option<String>,
    /// How it talks to its model.
    pub settings: Settings,
    /// Labels.
    pub tags: Vec<String>,
    /// The client's own data.
    pub metadata: BTreeMap<String, Value>,
    /// Hidden from lists.
    pub ephemeral: bool,
}

/// Changes a session; what is absent stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct UpdateSession {
    /// The new title; `Some(None)` removes it.
    pub title: Option<Option<String>>,
    /// Changed settings.
    pub settings: Option<SettingsPatch>,
    /// The new tags, all of them.
    pub tags: Option<Vec<String>>,
    /// The new metadata, all of it.
    pub metadata: Option<BTreeMap<String, Value>>,
    /// Into the archive, or out of it.
    pub archived: Option<bool>,
}

/// Content that becomes a message when accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<ContentPart>,
    /// The speaker's name.
    pub name: Option<String>,
}

/// Sends a message and asks for its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SendMessage {
    /// The ids to use.
    #[serde(skip)]
    pub ids: TurnIds,
    /// The message.
    pub message: NewMessage,
    /// The message it follows; none for the newest of the session.
    pub parent_id: Option<MessageId>,
    /// Settings for this turn alone.
    pub settings: SettingsPatch,
    /// What to do when a turn is running.
    pub on_busy: OnBusy,
}

/// Asks for another answer to the message of an ended turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetryTurn {
    /// The ended turn.
    pub turn_id: TurnId,
    /// The new turn.
    #[serde(skip)]
    pub new_turn_id: TurnId,
    /// The new answer.
    #[serde(skip)]
    pub answer_id: MessageId,
    /// Settings for the new turn alone.
    pub settings: SettingsPatch,
}

/// Opens an ephemeral session with the history the client keeps, and asks for one answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CreateCompletion {
    /// The ids to use; `message_id` is the last message's.
    #[serde(skip)]
    pub ids: TurnIds,
    /// Ids for the earlier messages, one each.
    #[serde(skip)]
    pub history_ids: Vec<MessageId>,
    /// The call's settings.
    pub settings: Settings,
    /// The conversation so far.
    pub history: Vec<NewMessage>,
    /// The message to answer.
    pub message: NewMessage,
}

/// An attempt that is no longer alive, as far as is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LostAttempt {
    /// Its number.
    pub attempt: u32,
    /// Bytes of an answer that it brought.
    pub reached: u64,
    /// What it said until then; it counts if the turn was asked to stop.
    pub partial: Completion,
}

/// A command to a session.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "command")]
pub enum SessionCommand {
    /// See [`CreateSession`].
    CreateSession(CreateSession),
    /// See [`CreateCompletion`].
    CreateCompletion(CreateCompletion),
    /// See [`UpdateSession`].
    UpdateSession(UpdateSession),
    /// Deletes the session; running turns are cancelled.
    DeleteSession,
    /// Forgets all messages.
    ClearHistory,
    /// See [`SendMessage`].
    SendMessage(SendMessage),
    /// See [`RetryTurn`].
    RetryTurn(RetryTurn),
    /// Stops a turn; the partial answer is kept. No effect on an ended turn.
    CancelTurn {
        /// The turn.
        turn_id: TurnId,
    },
    /// A worker takes a turn.
    StartAttempt {
        /// The turn.
        turn_id: TurnId,
        /// Who takes it.
        worker_id: WorkerId,
        /// The attempt to take it from; none if the turn waits for a worker.
        lost: Option<LostAttempt>,
    },
    /// A worker that has to stop gives a turn back, for the next one to take.
    ReleaseAttempt {
        /// The turn.
        turn_id: TurnId,
        /// The worker's attempt.
        attempt: u32,
        /// What was said until then, if anything; it counts if the turn was asked to stop.
        partial: Option<Completion>,
    },
    /// A worker's provider broke the answer off; another attempt may do better.
    AbandonAttempt {
        /// The turn.
        turn_id: TurnId,
        /// The worker's attempt.
        attempt: u32,
        /// Why.
        error: TurnError,
        /// Bytes of the answer that it brought.
        reached: u64,
        /// What was said until then; it counts if the turn was asked to stop.
        partial: Completion,
    },
    /// A worker finished an answer.
    CompleteTurn {
        /// The turn.
        turn_id: TurnId,
        /// The worker's attempt.
        attempt: u32,
        /// Why the model stopped.
        finish_reason: FinishReason,
        /// The answer.
        completion: Completion,
    },
    /// A worker gives up.
    FailTurn {
        /// The turn.
        turn_id: TurnId,
        /// The worker's attempt.
        attempt: u32,
        /// Why.
        error: TurnError,
        /// What was used all the same.
        usage: Option<Usage>,
        /// What was said until then; it counts if the turn was asked to stop.
        partial: Completion,
    },
    /// A worker stopped on request.
    ConfirmCancel {
        /// The turn.
        turn_id: TurnId,
        /// The worker's attempt.
        attempt: u32,
        /// What was said until then.
        completion: Completion,
    },
}

impl SessionCommand {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateSession(_) => "CreateSession",
            Self::CreateCompletion(_) => "CreateCompletion",
            Self::UpdateSession(_) => "UpdateSession",
            Self::DeleteSession => "DeleteSession",
            Self::ClearHistory => "ClearHistory",
            Self::SendMessage(_) => "SendMessage",
            Self::RetryTurn(_) => "RetryTurn",
            Self::CancelTurn { .. } => "CancelTurn",
            Self::StartAttempt { .. } => "StartAttempt",
            Self::ReleaseAttempt { .. } => "ReleaseAttempt",
            Self::AbandonAttempt { .. } => "AbandonAttempt",
            Self::CompleteTurn { .. } => "CompleteTurn",
            Self::FailTurn { .. } => "FailTurn",
            Self::ConfirmCancel { .. } => "ConfirmCancel",
        }
    }
}
