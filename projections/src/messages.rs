//! The history: every message of every session, in the order of the log.
//!
//! A message never changes, so nothing is read back: messages are added, and removed all at
//! once when their session is cleared or deleted. An answer always finds its session there,
//! for neither happens while a turn runs (a deletion ends all turns, without answers, first).

mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::session::{SESSION, SessionEvent};
use domain::{
    Completion, ContentPart, FinishReason, Message, MessageId, Role, SessionId, TenantId, TurnId,
    Usage,
};
use eventstore::Position;
use serde_json::value::RawValue;

pub use queries::{HistoryMessage, MessageCursor, MessageOrder, list_messages};

use crate::projection::{
    Fact, FoldError, Projection, SessionFact, Touched, json, row, storable, tenant,
};
use crate::read_model::ReadModel;
use crate::rows::Rows;

row! {
    /// A message.
    pub struct MessageRow keyed by message_id.0 in session_id {
        /// Its id.
        pub message_id: MessageId,
        /// Its session.
        pub session_id: SessionId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// The message it follows; none at the root.
        pub parent_id: Option<MessageId>,
        /// Who speaks.
        pub role: Role,
        /// What is said: a list of [`ContentPart`] as JSON.
        pub content: Box<RawValue>,
        /// The speaker's name, where several share a role.
        pub name: Option<String>,
        /// The turn that wrote it; none for a message that was sent.
        pub turn_id: Option<TurnId>,
        /// Why the model stopped; none where it was stopped.
        pub finish_reason: Option<FinishReason>,
        /// What the answer used.
        pub usage: Option<Usage>,
        /// When it was accepted or finished.
        pub created_at: DateTime<Utc>,
        /// Its event.
        pub position: Position,
        /// Its place among the messages of that event.
        pub ordinal: i32,
    }
}

impl MessageRow {
    /// What is said.
    pub fn parts(&self) -> Result<Vec<ContentPart>, serde_json::Error> {
        serde_json::from_str(self.content.get())
    }
}

/// The projection `messages`.
pub(crate) struct Messages;

impl Projection for Messages {
    const MODEL: ReadModel = ReadModel::Messages;
    const STREAMS: &'static [&'static str] = &[SESSION];
    type Row = MessageRow;

    fn touch(_: &Fact<'_>, _: &mut Touched) {}

    fn apply(rows: &mut Rows<MessageRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let Fact::Session(fact) = fact else { return Ok(()) };
        match fact.event {
            SessionEvent::MessageSent { message } => rows.insert(sent(fact, message, 0)?),
            SessionEvent::MessagesImported { messages, .. } => {
                let imported: Result<Vec<_>, _> =
                    messages.iter().zip(0..).map(|(message, n)| sent(fact, message, n)).collect();
                imported?.into_iter().for_each(|row| rows.insert(row));
            }
            SessionEvent::TurnCompleted { turn_id, finish_reason, completion, .. } => {
                rows.insert(answer(fact, *turn_id, Some(*finish_reason), completion)?);
            }
            SessionEvent::TurnCancelled { turn_id, completion: Some(completion), .. } => {
                rows.insert(answer(fact, *turn_id, None, completion)?);
            }
            SessionEvent::HistoryCleared { .. } | SessionEvent::SessionDeleted { .. } => {
                rows.remove_session(fact.session_id);
            }
            _ => {}
        }
        Ok(())
    }
}

fn sent(fact: &SessionFact<'_>, message: &Message, ordinal: i32) -> Result<MessageRow, FoldError> {
    Ok(MessageRow {
        message_id: message.id,
        session_id: fact.session_id,
        tenant_id: tenant(fact.tenant_id)?,
        parent_id: message.parent_id,
        role: message.role,
        content: json(&message.content)?,
        name: message.name.as_deref().map(storable),
        turn_id: None,
        finish_reason: None,
        usage: None,
        created_at: message.created_at,
        position: fact.position,
        ordinal,
    })
}

fn answer(
    fact: &SessionFact<'_>,
    turn_id: TurnId,
    finish_reason: Option<FinishReason>,
    completion: &Completion,
) -> Result<MessageRow, FoldError> {
    Ok(MessageRow {
        turn_id: Some(turn_id),
        finish_reason,
        usage: Some(completion.usage),
        ..sent(fact, &completion.message, 0)?
    })
}
