//! What can have happened to a session. These shapes are in the log for ever: fields are only
//! added (with a default), never renamed or removed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::completion::{Completion, FinishReason, Usage};
use crate::content::Message;
use crate::ids::{MessageId, TenantId, TurnId, UserId, WorkerId};
use crate::settings::Settings;

/// In the error of an abandoned attempt: its worker gave no sign of life any more.
pub const WORKER_LOST: &str = "worker_lost";

/// Why a turn or an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnError {
    /// A stable code.
    pub code: String,
    /// What happened, for a person; no secrets.
    pub message: String,
}

/// An event of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields say what they are; each variant is documented")]
pub enum SessionEvent {
    /// The session was opened.
    SessionCreated {
        tenant_id: TenantId,
        user_id: UserId,
        title: Option<String>,
        settings: Settings,
        tags: Vec<String>,
        metadata: BTreeMap<String, Value>,
        /// Made for one stateless call: hidden from lists.
        ephemeral: bool,
        at: DateTime<Utc>,
    },
    /// Its title changed.
    SessionRenamed { title: Option<String>, at: DateTime<Utc> },
    /// Its settings changed to these.
    SettingsChanged { settings: Settings, at: DateTime<Utc> },
    /// Its tags and metadata changed to these.
    SessionAnnotated { tags: Vec<String>, metadata: BTreeMap<String, Value>, at: DateTime<Utc> },
    /// It was put away: readable, but no new turns.
    SessionArchived { at: DateTime<Utc> },
    /// It was taken back from the archive.
    SessionRestored { at: DateTime<Utc> },
    /// It was deleted: no longer shown.
    SessionDeleted { at: DateTime<Utc> },
    /// All its messages were forgotten; the session goes on empty.
    HistoryCleared { at: DateTime<Utc> },
    /// Earlier messages, kept by the client until now, were taken over.
    MessagesImported { messages: Vec<Message>, at: DateTime<Utc> },
    /// A message was accepted.
    MessageSent { message: Message },
    /// An answer to a message is wanted.
    TurnRequested {
        turn_id: TurnId,
        /// The message to answer.
        message_id: MessageId,
        /// The id that the answer will have.
        answer_id: MessageId,
        /// The settings in force for this turn; the model is always named.
        settings: Settings,
        /// The queue of workers that serve the model.
        pool: String,
        at: DateTime<Utc>,
    },
    /// A worker took the turn.
    AttemptStarted { turn_id: TurnId, attempt: u32, worker_id: WorkerId, at: DateTime<Utc> },
    /// A worker that had to stop gave the turn back: it waits for the next one.
    AttemptReleased {
        turn_id: TurnId,
        attempt: u32,
        /// What it used. The user doesn't pay for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        at: DateTime<Utc>,
    },
    /// An attempt came to nothing: its worker was lost, or its provider broke the answer off.
    /// The turn waits for the next one.
    AttemptAbandoned {
        turn_id: TurnId,
        attempt: u32,
        /// Why; the code is [`WORKER_LOST`] or the provider's.
        error: TurnError,
        /// Bytes of an answer that it brought.
        reached: u64,
        /// What it used. The user doesn't pay for it.
        usage: Usage,
        at: DateTime<Utc>,
    },
    /// The answer is finished.
    TurnCompleted {
        turn_id: TurnId,
        attempt: u32,
        finish_reason: FinishReason,
        completion: Completion,
        at: DateTime<Utc>,
    },
    /// There will be no answer.
    TurnFailed {
        turn_id: TurnId,
        attempt: u32,
        error: TurnError,
        /// What the provider charged all the same, where known.
        usage: Option<Usage>,
        at: DateTime<Utc>,
    },
    /// Somebody asked the turn to stop.
    CancelRequested { turn_id: TurnId, at: DateTime<Utc> },
    /// The turn stopped, with what was said until then.
    TurnCancelled {
        turn_id: TurnId,
        attempt: u32,
        completion: Option<Completion>,
        at: DateTime<Utc>,
    },
}

impl SessionEvent {
    /// The event's name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionCreated { .. } => "SessionCreated",
            Self::SessionRenamed { .. } => "SessionRenamed",
            Self::SettingsChanged { .. } => "SettingsChanged",
            Self::SessionAnnotated { .. } => "SessionAnnotated",
            Self::SessionArchived { .. } => "SessionArchived",
            Self::SessionRestored { .. } => "SessionRestored",
            Self::SessionDeleted { .. } => "SessionDeleted",
            Self::HistoryCleared { .. } => "HistoryCleared",
            Self::MessagesImported { .. } => "MessagesImported",
            Self::MessageSent { .. } => "MessageSent",
            Self::TurnRequested { .. } => "TurnRequested",
            Self::AttemptStarted { .. } => "AttemptStarted",
            Self::AttemptReleased { .. } => "AttemptReleased",
            Self::AttemptAbandoned { .. } => "AttemptAbandoned",
            Self::TurnCompleted { .. } => "TurnCompleted",
            Self::TurnFailed { .. } => "TurnFailed",
            Self::CancelRequested { .. } => "CancelRequested",
            Self::TurnCancelled { .. } => "TurnCancelled",
        }
    }

    /// When it happened, by the clock of the process that decided it.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::MessageSent { message } => message.created_at,
            Self::SessionCreated { at, .. }
            | Self::SessionRenamed { at, .. }
            | Self::SettingsChanged { at, .. }
            | Self::SessionAnnotated { at, .. }
            | Self::SessionArchived { at }
            | Self::SessionRestored { at }
            | Self::SessionDeleted { at }
            | Self::HistoryCleared { at }
            | Self::MessagesImported { at, .. }
            | Self::TurnRequested { at, .. }
            | Self::AttemptStarted { at, .. }
            | Self::AttemptReleased { at, .. }
            | Self::AttemptAbandoned { at, .. }
            | Self::TurnCompleted { at, .. }
            | Self::TurnFailed { at, .. }
            | Self::CancelRequested { at, .. }
            | Self::TurnCancelled { at, .. } => *at,
        }
    }
}

impl DomainEvent for SessionEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    /// All shapes are in their first version; an upcaster reads older ones.
    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}
