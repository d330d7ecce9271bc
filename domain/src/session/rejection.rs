//! Why a command was refused, with a stable code for each reason.

use crate::ids::TurnId;
use crate::settings::InvalidSetting;

/// What sort of refusal it is; HTTP and other edges map it to their own statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// It isn't there, or is none of the caller's business.
    NotFound,
    /// It doesn't fit the present state; it may fit later.
    Conflict,
    /// It can never be accepted as it stands.
    Invalid,
    /// It is there, but not for this caller, or not now.
    Forbidden,
}

/// A refused command. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such session for this caller.
    #[error("there is no such session")]
    SessionNotFound,
    /// The id is taken.
    #[error("a session with this id exists")]
    SessionExists,
    /// Archived sessions take no turns.
    #[error("the session is archived; restore it first (PATCH with \"archived\": false)")]
    SessionArchived,
    /// One turn at a time.
    #[error(
        "turn {0} is still running; wait for it, cancel it, or send with \"on_busy\": \"interrupt\""
    )]
    TurnInProgress(TurnId),
    /// No such turn in this session.
    #[error("there is no such turn")]
    TurnNotFound,
    /// The turn ended before.
    #[error("the turn has ended")]
    TurnFinished,
    /// Another attempt holds the turn.
    #[error("another attempt holds the turn")]
    AttemptSuperseded,
    /// An earlier turn of the session is still stopping.
    #[error("an earlier turn of the session is still stopping")]
    EarlierTurnStopping,
    /// The parent isn't a message of the session.
    #[error("`parent_id` names no message of this session")]
    ParentNotFound,
    /// Nothing was said.
    #[error("the message is empty")]
    EmptyMessage,
    /// More than the limit.
    #[error("the message has {size} bytes; at most {limit} are taken")]
    MessageTooLarge {
        /// The message's size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// More than the limit.
    #[error("{what} has more than {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit, with its unit.
        limit: &'static str,
    },
    /// A label that says nothing.
    #[error("a tag must not be empty")]
    EmptyTag,
    /// A part that may not stand in such a message.
    #[error("{0}")]
    InvalidContent(&'static str),
    /// A setting out of range.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// Not one of the deployment's models.
    #[error("there is no model called {0:?}; GET /v1/models lists them")]
    UnknownModel(String),
    /// A model that is no longer, or not yet, on offer.
    #[error("the model {0:?} is disabled; GET /v1/models lists those on offer")]
    ModelDisabled(String),
    /// More output than the model gives.
    #[error("`max_tokens` is {asked}; {model} gives at most {limit}")]
    MaxTokensTooLarge {
        /// What was asked for.
        asked: u32,
        /// The model's name.
        model: String,
        /// Its limit.
        limit: u32,
    },
    /// No model is configured at all.
    #[error("no model is configured")]
    NoModel,
}

impl Rejection {
    /// The stable code, as in error answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SessionNotFound => "session_not_found",
            Self::SessionExists => "session_exists",
            Self::SessionArchived => "session_archived",
            Self::TurnInProgress(_) => "turn_in_progress",
            Self::TurnNotFound => "turn_not_found",
            Self::TurnFinished => "turn_finished",
            Self::AttemptSuperseded => "attempt_superseded",
            Self::EarlierTurnStopping => "earlier_turn_stopping",
            Self::ParentNotFound => "parent_not_found",
            Self::EmptyMessage => "empty_message",
            Self::MessageTooLarge { .. } => "message_too_large",
            Self::TooMany { .. } => "too_many",
            Self::EmptyTag => "empty_tag",
            Self::InvalidContent(_) => "invalid_content",
            Self::InvalidSetting(_) => "invalid_setting",
            Self::UnknownModel(_) => "model_not_found",
            Self::ModelDisabled(_) => "model_disabled",
            Self::MaxTokensTooLarge { .. } => "max_tokens_too_large",
            Self::NoModel => "no_model",
        }
    }

    /// What sort of refusal it is.
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::SessionNotFound | Self::TurnNotFound | Self::UnknownModel(_) | Self::NoModel => {
                RejectionKind::NotFound
            }
            Self::SessionExists
            | Self::SessionArchived
            | Self::TurnInProgress(_)
            | Self::TurnFinished
            | Self::AttemptSuperseded
            | Self::EarlierTurnStopping => RejectionKind::Conflict,
            Self::ModelDisabled(_) => RejectionKind::Forbidden,
            Self::ParentNotFound
            | Self::EmptyMessage
            | Self::MessageTooLarge { .. }
            | Self::TooMany { .. }
            | Self::EmptyTag
            | Self::InvalidContent(_)
            | Self::InvalidSetting(_)
            | Self::MaxTokensTooLarge { .. } => RejectionKind::Invalid,
        }
    }

    /// The request's field that is at fault, where it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::InvalidSetting(invalid) => Some(invalid.field),
            Self::UnknownModel(_) | Self::ModelDisabled(_) => Some("model"),
            Self::MaxTokensTooLarge { .. } => Some("max_tokens"),
            Self::ParentNotFound => Some("parent_id"),
            Self::EmptyTag => Some("tags"),
            Self::EmptyMessage | Self::MessageTooLarge { .. } | Self::InvalidContent(_) => {
                Some("content")
            }
            _ => None,
        }
    }
}
