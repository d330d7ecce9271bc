//! Carrying a command out.

use std::sync::Arc;
use std::time::Duration;

use domain::session::{Context, SESSION, Session, SessionCommand, SessionEvent, decide};
use domain::{Actor, Clock, CommandId, Ids, MessageId, Models, SessionId, TurnId};
use eventstore::{
    AppendCommand, CommandRecord, EventStore, NewEvent, Position, StreamAppend, Verdict,
};
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{SessionCache, Versioned};
use crate::error::CommandError;

/// Decisions on one command before giving up.
const TRIES: u32 = 10;

/// Who asks, and under which names it is remembered.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor.
    pub actor: Actor,
    /// The id by which a repeat is known; none for a command that is safe by its own rules.
    pub command_id: Option<CommandId>,
    /// What the command belongs to: the request's id, the turn's job.
    pub correlation_id: String,
}

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

/// A command that was carried out, now or before.
#[derive(Debug, Clone)]
pub struct Executed {
    /// What it made.
    pub reply: Reply,
    /// The position of its last event; none if there was nothing to change.
    pub position: Option<Position>,
    /// Its events; empty for a repeat.
    pub events: Vec<SessionEvent>,
    /// The session as the command left it; none for a repeat.
    pub session: Option<Arc<Session>>,
    /// Whether it had been carried out before.
    pub repeated: bool,
}

impl Executed {
    /// Its events, each with its position.
    pub fn placed(&self) -> impl Iterator<Item = (Position, &SessionEvent)> {
        let last = self.position.unwrap_or_default();
        (0..).zip(self.events.iter().rev()).map(move |(back, event)| (last - back, event))
    }
}

/// Carries commands out. Clones share the cache.
#[derive(Clone)]
pub struct CommandBus {
    store: EventStore,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    models: Arc<Models>,
    cache: Arc<SessionCache>,
}

impl CommandBus {
    /// A bus on `store`.
    pub fn new(
        store: EventStore,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        models: Arc<Models>,
    ) -> Self {
        Self { store, clock, ids, models, cache: Arc::new(SessionCache::new()) }
    }

    /// The models that commands may name.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The clock that commands are timed by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The source of ids.
    pub fn ids(&self) -> &dyn Ids {
        &*self.ids
    }

    /// Decides `command` on the session `id` and appends what follows from it.
    pub async fn execute(
        &self,
        id: SessionId,
        command: &SessionCommand,
        caller: &Caller,
    ) -> Result<Executed, CommandError> {
        let context = Context {
            now: self.clock.now(),
            actor: caller.actor.clone(),
            models: Arc::clone(&self.models),
        };
        let reply = reply_to(id, command);
        let record = record(&reply, command, caller)?;
        // A new session's stream is empty; there is nothing to load.
        let mut state = self.cache.take(id).unwrap_or_default();
        if state.version == 0 && !creates(command) {
            self.catch_up(id, &mut state).await?;
        }
        for attempt in 0..TRIES {
            let decided = decide(&state.session, command, &context);
            let events = match decided {
                Ok(events) if !events.is_empty() => events,
                without_events => {
                    // No append will check the version: the cached state may be behind, and
                    // the log has the last word.
                    if attempt == 0 && self.catch_up(id, &mut state).await? {
                        continue;
                    }
                    let session = Some(Arc::clone(&state.session));
                    self.cache.put(id, state);
                    if let Some(first_time) = self.first_time(caller, record).await? {
                        return Ok(first_time);
                    }
                    let events = without_events?;
                    return Ok(Executed {
                        reply,
                        position: None,
                        events,
                        session,
                        repeated: false,
                    });
                }
            };
            let append = self.append_for(id, &state, &events, command, caller, record.clone())?;
            match self.store.append(append).await? {
                Verdict::Appended { last, .. } | Verdict::Duplicate { last, outcome: None, .. } => {
                    return Ok(self.appended(id, state, events, reply, last));
                }
                Verdict::Duplicate { last, outcome: Some(outcome), .. } => {
                    return repeated(outcome.get(), last);
                }
                Verdict::Reused => return Err(CommandError::IdReused),
                Verdict::Conflict => {
                    back_off(attempt).await;
                    self.catch_up(id, &mut state).await?;
                }
            }
        }
        Err(CommandError::Contended)
    }

    /// The session as the log has it now.
    pub async fn load(&self, id: SessionId) -> Result<Arc<Session>, CommandError> {
        let mut state = self.cache.take(id).unwrap_or_default();
        self.catch_up(id, &mut state).await?;
        let session = Arc::clone(&state.session);
        self.cache.put(id, state);
        Ok(session)
    }

    /// Folds in what the log has beyond `state`; tells whether there was anything.
    async fn catch_up(&self, id: SessionId, state: &mut Versioned) -> Result<bool, CommandError> {
        let events = self.store.load::<Session>(&id.to_string(), state.version).await?;
        for loaded in &events {
            Arc::make_mut(&mut state.session).apply(&loaded.event);
            state.version = loaded.sequence;
        }
        Ok(!events.is_empty())
    }

    fn appended(
        &self,
        id: SessionId,
        mut state: Versioned,
        events: Vec<SessionEvent>,
        reply: Reply,
        position: Position,
    ) -> Executed {
        for event in &events {
            Arc::make_mut(&mut state.session).apply(event);
            state.version += 1;
        }
        let session = Some(Arc::clone(&state.session));
        self.cache.put(id, state);
        Executed { reply, position: Some(position), events, session, repeated: false }
    }

    /// What the command did when it first came. A repeat may be refused by the very effect of
    /// its first time, or find nothing left to change; then the first answer counts.
    async fn first_time(
        &self,
        caller: &Caller,
        record: Option<CommandRecord>,
    ) -> Result<Option<Executed>, CommandError> {
        let Some(record) = record else { return Ok(None) };
        let tenant = caller.actor.tenant_id.as_str();
        let found = self.store.find_command(tenant, &record.user_id, &record.command_id).await?;
        match found {
            None => Ok(None),
            Some(found) if found.request_hash == record.request_hash => {
                repeated(found.outcome.get(), found.last_position).map(Some)
            }
            Some(_) => Err(CommandError::IdReused),
        }
    }

    fn append_for(
        &self,
        id: SessionId,
        state: &Versioned,
        events: &[SessionEvent],
        command: &SessionCommand,
        caller: &Caller,
        record: Option<CommandRecord>,
    ) -> Result<AppendCommand, CommandError> {
        let metadata = serde_json::json!({
            "command": command.name(),
            "command_id": caller.command_id.as_ref().map_or("", |id| id.as_str()),
            "correlation_id": caller.correlation_id,
            "actor": caller.actor.user_id,
        })
        .to_string();
        let new_event = |event: &SessionEvent| {
            Ok(NewEvent {
                event_id: self.ids.next(),
                event_type: event.name(),
                event_version: cqrs_es::DomainEvent::event_version(event),
                payload: serde_json::to_string(event)?,
                metadata: metadata.clone(),
            })
        };
        let events = events.iter().map(new_event).collect::<Result<Vec<_>, CommandError>>()?;
        let last = events.len().saturating_sub(1);
        let stream = StreamAppend {
            aggregate_type: SESSION,
            aggregate_id: id.to_string(),
            expected_version: state.version,
            events,
        };
        Ok(AppendCommand {
            tenant_id: caller.actor.tenant_id.to_string(),
            records: record.into_iter().map(|one| CommandRecord { last, ..one }).collect(),
            streams: vec![stream],
        })
    }
}

fn creates(command: &SessionCommand) -> bool {
    matches!(command, SessionCommand::CreateSession(_) | SessionCommand::CreateCompletion(_))
}

fn reply_to(session_id: SessionId, command: &SessionCommand) -> Reply {
    let ids = match command {
        SessionCommand::SendMessage(send) => Some(send.ids),
        SessionCommand::CreateCompletion(create) => Some(create.ids),
        _ => None,
    };
    let mut reply = Reply {
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

/// The record of a command that has an id. The hash covers what the client asked for, not the
/// ids that were made for it.
fn record(
    reply: &Reply,
    command: &SessionCommand,
    caller: &Caller,
) -> Result<Option<CommandRecord>, CommandError> {
    let Some(command_id) = &caller.command_id else { return Ok(None) };
    let mut hash = Sha256::new();
    if !creates(command) {
        hash.update(reply.session_id.0.as_bytes());
    }
    hash.update(serde_json::to_vec(command)?);
    Ok(Some(CommandRecord {
        user_id: caller.actor.user_id.to_string(),
        command_id: command_id.to_string(),
        request_hash: hash.finalize().to_vec(),
        outcome: serde_json::to_string(reply)?,
        first: 0,
        last: 0,
    }))
}

fn repeated(outcome: &str, position: Position) -> Result<Executed, CommandError> {
    Ok(Executed {
        reply: serde_json::from_str(outcome)?,
        position: Some(position),
        events: Vec::new(),
        session: None,
        repeated: true,
    })
}

async fn back_off(attempt: u32) {
    let most = 2_u64 << attempt.min(6);
    let pause = rand::rng().random_range(0..=most);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}
