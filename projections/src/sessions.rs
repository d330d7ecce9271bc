//! The sessions, as lists show them.

mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::session::{SESSION, SessionEvent, SessionStatus};
use domain::{Completion, ContentPart, Message, SessionId, TenantId, TurnId, UserId};
use eventstore::Position;
use serde_json::value::RawValue;

pub use queries::{SessionCursor, SessionFilter, get_session, list_sessions};

use crate::projection::{Fact, FoldError, Projection, SessionFact, Touched, json, row, storable};
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// Characters of the newest text that a list shows.
const PREVIEW_CHARS: usize = 200;

row! {
    /// A session. A deleted one has no row.
    pub struct SessionRow keyed by session_id.0 in session_id {
        /// Its id.
        pub session_id: SessionId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// Whose it is.
        pub user_id: UserId,
        /// A title for people.
        pub title: Option<String>,
        /// Active or archived.
        pub status: SessionStatus,
        /// How it talks to its model: [`domain::Settings`] as JSON.
        pub settings: Box<RawValue>,
        /// Its labels.
        pub tags: Vec<String>,
        /// The client's own data, a JSON object.
        pub metadata: Box<RawValue>,
        /// Made for one stateless call: never listed.
        pub ephemeral: bool,
        /// Its messages, of all branches.
        pub message_count: i32,
        /// The beginning of the newest text.
        pub last_message_preview: Option<String>,
        /// Turns that have not ended, oldest first.
        pub active_turns: Vec<TurnId>,
        /// When it was opened.
        pub created_at: DateTime<Utc>,
        /// When it last changed.
        pub updated_at: DateTime<Utc>,
        /// The event that opened it.
        pub created_position: Position,
        /// The event that last changed it.
        pub last_position: Position,
    }
}

impl SessionRow {
    /// The turn that runs or is next to run: the newest that has not ended.
    pub fn running_turn_id(&self) -> Option<TurnId> {
        self.active_turns.last().copied()
    }

    fn add(&mut self, message: &Message) {
        self.message_count += 1;
        if let Some(text) = preview(&message.content) {
            self.last_message_preview = Some(text);
        }
    }

    fn end(&mut self, turn_id: TurnId, completion: Option<&Completion>) {
        self.active_turns.retain(|active| *active != turn_id);
        if let Some(completion) = completion {
            self.add(&completion.message);
        }
    }
}

/// The projection `sessions`.
pub(crate) struct Sessions;

impl Projection for Sessions {
    const MODEL: ReadModel = ReadModel::Sessions;
    const STREAMS: &'static [&'static str] = &[SESSION];
    type Row = SessionRow;

    fn touch(fact: &Fact<'_>, touched: &mut Touched) {
        let Fact::Session(fact) = fact else { return };
        match fact.event {
            SessionEvent::SessionCreated { .. } => touched.makes(fact.session_id.0),
            event if concerns_the_turn_alone(event) => {}
            SessionEvent::SessionDeleted { .. } => {}
            _ => touched.changes(fact.session_id.0),
        }
    }

    fn apply(rows: &mut Rows<SessionRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let Fact::Session(fact) = fact else { return Ok(()) };
        match fact.event {
            SessionEvent::SessionCreated { .. } => rows.insert(created(fact)?),
            SessionEvent::SessionDeleted { .. } => rows.remove_session(fact.session_id),
            event if concerns_the_turn_alone(event) => {}
            event => change(rows.change(fact.session_id.0)?, event, fact.position)?,
        }
        Ok(())
    }
}

/// A worker's steps on the way to an answer change nothing that a list shows.
fn concerns_the_turn_alone(event: &SessionEvent) -> bool {
    matches!(
        event,
        SessionEvent::AttemptStarted { .. }
            | SessionEvent::AttemptReleased { .. }
            | SessionEvent::AttemptAbandoned { .. }
            | SessionEvent::CancelRequested { .. }
    )
}

fn created(fact: &SessionFact<'_>) -> Result<SessionRow, FoldError> {
    let SessionEvent::SessionCreated {
        tenant_id,
        user_id,
        title,
        settings,
        tags,
        metadata,
        ephemeral,
        at,
    } = fact.event
    else {
        return Err(FoldError::Unfit("a session must begin with SessionCreated"));
    };
    Ok(SessionRow {
        session_id: fact.session_id,
        tenant_id: tenant_id.clone(),
        user_id: user_id.clone(),
        title: title.as_deref().map(storable),
        status: SessionStatus::Active,
        settings: json(settings)?,
        tags: tags.iter().map(|tag| storable(tag)).collect(),
        metadata: json(metadata)?,
        ephemeral: *ephemeral,
        message_count: 0,
        last_message_preview: None,
        active_turns: Vec::new(),
        created_at: *at,
        updated_at: *at,
        created_position: fact.position,
        last_position: fact.position,
    })
}

fn change(row: &mut SessionRow, event: &SessionEvent, position: Position) -> Result<(), FoldError> {
    match event {
        SessionEvent::SessionRenamed { title, .. } => row.title = title.as_deref().map(storable),
        SessionEvent::SettingsChanged { settings, .. } => row.settings = json(settings)?,
        SessionEvent::SessionAnnotated { tags, metadata, .. } => {
            row.metadata = json(metadata)?;
            row.tags = tags.iter().map(|tag| storable(tag)).collect();
        }
        SessionEvent::SessionArchived { .. } => row.status = SessionStatus::Archived,
        SessionEvent::SessionRestored { .. } => row.status = SessionStatus::Active,
        SessionEvent::HistoryCleared { .. } => {
            row.message_count = 0;
            row.last_message_preview = None;
        }
        SessionEvent::MessagesImported { messages, .. } => {
            for message in messages {
                row.add(message);
            }
        }
        SessionEvent::MessageSent { message } => row.add(message),
        SessionEvent::TurnRequested { turn_id, .. } => row.active_turns.push(*turn_id),
        SessionEvent::TurnCompleted { turn_id, completion, .. } => {
            row.end(*turn_id, Some(completion));
        }
        SessionEvent::TurnFailed { turn_id, .. } => row.end(*turn_id, None),
        SessionEvent::TurnCancelled { turn_id, completion, .. } => {
            row.end(*turn_id, completion.as_ref());
        }
        SessionEvent::SessionCreated { .. }
        | SessionEvent::SessionDeleted { .. }
        | SessionEvent::AttemptStarted { .. }
        | SessionEvent::AttemptReleased { .. }
        | SessionEvent::AttemptAbandoned { .. }
        | SessionEvent::CancelRequested { .. } => return Ok(()),
    }
    row.updated_at = event.at();
    row.last_position = position;
    Ok(())
}

/// The beginning of what `content` says, if it says anything.
fn preview(content: &[ContentPart]) -> Option<String> {
    let texts = content.iter().filter_map(|part| match part {
        ContentPart::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let beginning: String =
        texts.flat_map(str::chars).skip_while(|c| c.is_whitespace()).take(PREVIEW_CHARS).collect();
    let beginning = beginning.trim_end();
    (!beginning.is_empty()).then(|| storable(beginning))
}
