//! What a carried out command answers.

use std::sync::Arc;

use domain::quota::{AccountView, QuotaEvent, Threshold};
use domain::session::{Session, SessionCommand, SessionEvent};
use domain::{MessageId, SessionId, TurnId};
use eventstore::Position;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;

/// What a command made, as far as its answer needs it; stored for repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The session.
    pub session_id: SessionId,
    /// The turn that was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// The message that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The id of the answer to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_id: Option<MessageId>,
}

/// What a command did to an account.
#[derive(Debug, Clone)]
pub struct Billed {
    /// The account's events.
    pub events: Vec<QuotaEvent>,
    /// The account after them.
    pub account: Box<AccountView>,
}

impl Billed {
    /// The limits of which the command left little.
    pub fn crossed(&self) -> impl Iterator<Item = &Threshold> {
        self.events.iter().filter_map(|event| match event {
            QuotaEvent::ThresholdCrossed { threshold, .. } => Some(threshold),
            _ => None,
        })
    }
}

/// A command that was carried out, now or before.
#[derive(Debug, Clone)]
pub struct Executed {
    /// What it made.
    pub reply: Reply,
    /// The position of its last event; none if there was nothing to change.
    pub position: Option<Position>,
    /// The session's events; empty for a repeat.
    pub events: Vec<SessionEvent>,
    /// The session as the command left it; none for a repeat.
    pub session: Option<Arc<Session>>,
    /// What it meant for the owner's account, if anything.
    pub billed: Option<Billed>,
    /// Whether it had been carried out before.
    pub repeated: bool,
}

impl Executed {
    /// The session's events, each with its position: they stand together, and the last one is
    /// the command's last.
    pub fn placed(&self) -> impl Iterator<Item = (Position, &SessionEvent)> {
        let last = self.position.unwrap_or_default();
        (0..).zip(self.events.iter().rev()).map(move |(back, event)| (last - back, event))
    }

    pub(crate) fn new(reply: Reply, position: Option<Position>, events: Vec<SessionEvent>) -> Self {
        Self { reply, position, events, session: None, billed: None, repeated: false }
    }

    /// The answer of the first time, for a command that came again.
    pub(crate) fn repeated(outcome: &str, position: Position) -> Result<Self, CommandError> {
        let reply = serde_json::from_str(outcome)?;
        Ok(Self { repeated: true, ..Self::new(reply, Some(position), Vec::new()) })
    }
}

impl Reply {
    /// What `command` will have made.
    pub(crate) fn to(session_id: SessionId, command: &SessionCommand) -> Self {
        let ids = match command {
            SessionCommand::SendMessage(send) => Some(send.ids),
            SessionCommand::CreateCompletion(create) => Some(create.ids),
            _ => None,
        };
        let mut reply = Self {
            session_id,
            turn_id: ids.map(|ids| ids.turn_id),
            message_id: ids.map(|ids| ids.message_id),
            answer_id: ids.map(|ids| ids.answer_id),
        };
        match command {
            SessionCommand::RetryTurn(retry) => {
                reply.turn_id = Some(retry.new_turn_id);
                reply.answer_id = Some(retry.answer_id);
            }
            SessionCommand::CancelTurn { turn_id } => reply.turn_id = Some(*turn_id),
            _ => {}
        }
        reply
    }
}
