//! A session as its events leave it. `apply` is total: it never fails and never decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::completion::Completion;
use crate::content::{ContentPart, Message};
use crate::ids::{MessageId, TenantId, TurnId, UserId, WorkerId};
use crate::session::event::{SessionEvent, WORKER_LOST};
use crate::settings::Settings;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// No event yet.
    #[default]
    Absent,
    /// In use.
    Active,
    /// Put away.
    Archived,
    /// Gone.
    Deleted,
}

/// Where a turn is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// Waits for a worker.
    Queued,
    /// A worker is at it.
    Running,
    /// Ended with an answer.
    Completed,
    /// Ended without one.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl TurnStatus {
    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Where it is.
    pub status: TurnStatus,
    /// The message it answers.
    pub message_id: MessageId,
    /// The id its answer has or will have.
    pub answer_id: MessageId,
    /// The settings in force for it.
    pub settings: Arc<Settings>,
    /// Attempts started so far; while the turn runs, the last one holds it.
    pub attempt: u32,
    /// Attempts in a row whose workers were lost before they brought a word.
    pub lost: u32,
    /// Answers that a provider broke off.
    pub broken_off: u32,
    /// Who holds it.
    pub worker_id: Option<WorkerId>,
    /// When it was accepted.
    pub requested_at: DateTime<Utc>,
    /// When somebody asked it to stop.
    pub cancel_requested_at: Option<DateTime<Utc>>,
}

impl Turn {
    /// What `lost` is after one more lost attempt, which had brought `reached` bytes.
    pub(super) fn lost_after(&self, reached: u64) -> u32 {
        if reached > 0 { 0 } else { self.lost + 1 }
    }

    /// Folds in what happens on the way to its end.
    fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::AttemptStarted { attempt, worker_id, .. } => {
                // Older logs tell of a lost worker by this alone.
                self.lost += u32::from(self.status == TurnStatus::Running);
                self.status = TurnStatus::Running;
                self.attempt = *attempt;
                self.worker_id = Some(worker_id.clone());
            }
            SessionEvent::AttemptReleased { .. } => self.wait(),
            SessionEvent::AttemptAbandoned { error, reached, .. } => {
                self.wait();
                let lost = error.code == WORKER_LOST;
                if lost || *reached > 0 {
                    self.lost = self.lost_after(*reached);
                }
                self.broken_off += u32::from(!lost);
            }
            SessionEvent::CancelRequested { at, .. } => self.cancel_requested_at = Some(*at),
            _ => {}
        }
    }

    fn wait(&mut self) {
        self.status = TurnStatus::Queued;
        self.worker_id = None;
    }
}

/// The folded state of one session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Session {
    /// Where it is.
    pub status: SessionStatus,
    /// Whose it is; set by the first event.
    pub owner: Option<(TenantId, UserId)>,
    /// Its title.
    pub title: Option<String>,
    /// Its settings.
    pub settings: Settings,
    /// Its labels.
    pub tags: Vec<String>,
    /// The client's own data.
    pub metadata: BTreeMap<String, Value>,
    /// Made for one stateless call.
    pub ephemeral: bool,
    /// All messages, by id (hence by time).
    pub messages: BTreeMap<MessageId, Arc<Message>>,
    /// The newest message of the current branch.
    pub leaf: Option<MessageId>,
    /// All turns, by id (hence by time).
    pub turns: BTreeMap<TurnId, Turn>,
    /// Turns that have not ended, oldest first.
    pub active: Vec<TurnId>,
    /// When it was opened.
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// Bytes that messages and settings take, about: for those who keep states in memory.
    #[serde(default)]
    pub weight: usize,
}

fn weight_of(message: &Message) -> usize {
    message.content.iter().map(ContentPart::size).sum()
}

fn weight_of_settings(settings: &Settings) -> usize {
    let options = &settings.provider_options;
    let options =
        if options.is_empty() { 0 } else { Value::Object(options.clone()).to_string().len() };
    settings.system_prompt.as_ref().map_or(0, String::len) + options
}

impl Session {
    /// Folds one event in.
    pub fn apply(&mut self, event: &SessionEvent) {
        self.updated_at = Some(event.at());
        match event {
            SessionEvent::SessionCreated { .. } => self.created(event),
            SessionEvent::SessionRenamed { title, .. } => self.title.clone_from(title),
            SessionEvent::SettingsChanged { settings, .. } => self.settings.clone_from(settings),
            SessionEvent::SessionAnnotated { tags, metadata, .. } => {
                self.tags.clone_from(tags);
                self.metadata.clone_from(metadata);
            }
            SessionEvent::SessionArchived { .. } => self.status = SessionStatus::Archived,
            SessionEvent::SessionRestored { .. } => self.status = SessionStatus::Active,
            SessionEvent::SessionDeleted { .. } => self.status = SessionStatus::Deleted,
            SessionEvent::HistoryCleared { .. } => {
                self.messages.clear();
                self.weight = 0;
                self.leaf = None;
            }
            SessionEvent::MessagesImported { messages, .. } => {
                for message in messages {
                    self.add(message);
                }
            }
            SessionEvent::MessageSent { message } => self.add(message),
            SessionEvent::TurnRequested { .. } => self.requested(event),
            SessionEvent::AttemptStarted { turn_id, .. }
            | SessionEvent::AttemptReleased { turn_id, .. }
            | SessionEvent::AttemptAbandoned { turn_id, .. }
            | SessionEvent::CancelRequested { turn_id, .. } => {
                if let Some(turn) = self.turns.get_mut(turn_id) {
                    turn.apply(event);
                }
            }
            SessionEvent::TurnCompleted { turn_id, completion, .. } => {
                self.ended(*turn_id, TurnStatus::Completed, Some(completion));
            }
            SessionEvent::TurnFailed { turn_id, .. } => {
                self.ended(*turn_id, TurnStatus::Failed, None);
            }
            SessionEvent::TurnCancelled { turn_id, completion, .. } => {
                self.ended(*turn_id, TurnStatus::Cancelled, completion.as_ref());
            }
        }
    }

    /// The state that `events` fold to.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a SessionEvent>) -> Self {
        events.into_iter().fold(Self::default(), |mut session, event| {
            session.apply(event);
            session
        })
    }

    /// The turn called `id`.
    pub fn turn(&self, id: TurnId) -> Option<&Turn> {
        self.turns.get(&id)
    }

    fn created(&mut self, event: &SessionEvent) {
        if let SessionEvent::SessionCreated {
            tenant_id,
            user_id,
            title,
            settings,
            tags,
            metadata,
            ephemeral,
            at,
        } = event
        {
            *self = Self {
                status: SessionStatus::Active,
                owner: Some((tenant_id.clone(), user_id.clone())),
                title: title.clone(),
                settings: settings.clone(),
                tags: tags.clone(),
                metadata: metadata.clone(),
                ephemeral: *ephemeral,
                created_at: Some(*at),
                updated_at: Some(*at),
                ..Self::default()
            };
        }
    }

    fn requested(&mut self, event: &SessionEvent) {
        if let SessionEvent::TurnRequested {
            turn_id, message_id, answer_id, settings, at, ..
        } = event
        {
            self.weight += weight_of_settings(settings);
            let turn = Turn {
                status: TurnStatus::Queued,
                message_id: *message_id,
                answer_id: *answer_id,
                settings: Arc::new(settings.clone()),
                attempt: 0,
                lost: 0,
                broken_off: 0,
                worker_id: None,
                requested_at: *at,
                cancel_requested_at: None,
            };
            self.turns.insert(*turn_id, turn);
            self.active.push(*turn_id);
            self.leaf = Some(*message_id);
        }
    }

    fn ended(&mut self, id: TurnId, status: TurnStatus, completion: Option<&Completion>) {
        self.active.retain(|active| *active != id);
        let Some(turn) = self.turns.get_mut(&id) else {
            return;
        };
        turn.status = status;
        let answered = turn.message_id;
        if let Some(completion) = completion.filter(|_| self.messages.contains_key(&answered)) {
            let message = &completion.message;
            self.weight += weight_of(message);
            self.messages.insert(message.id, Arc::new(message.clone()));
            // A message that was sent meanwhile has moved the branch on.
            if self.leaf == Some(answered) {
                self.leaf = Some(message.id);
            }
        }
    }

    fn add(&mut self, message: &Message) {
        self.weight += weight_of(message);
        self.messages.insert(message.id, Arc::new(message.clone()));
        self.leaf = Some(message.id);
    }
}
