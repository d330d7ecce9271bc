//! Carrying a session's command out.

use std::sync::Arc;

use domain::SessionId;
use domain::billing::{self, Bill};
use domain::session::{Context, Rejection, SESSION, Session, SessionCommand, SessionEvent, decide};
use eventstore::{AppendCommand, CommandRecord, StoreError, StreamAppend, Verdict};

use crate::back_off::back_off;
use crate::bus::CommandBus;
use crate::cache::Versioned;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::lane::{Order, Outcome};
use crate::new_event::new_event;
use crate::reply::{Executed, Reply};

/// Decisions on one command before giving up.
const TRIES: u32 = 10;

impl CommandBus {
    /// Decides `command` on the session `id` and appends what follows from it, together with
    /// what that means for the owner's account.
    pub async fn execute(
        &self,
        id: SessionId,
        command: &SessionCommand,
        caller: &Caller,
    ) -> Result<Executed, CommandError> {
        let reply = Reply::to(id, command);
        // A command that makes its session has no other scope than its content.
        let scope = if creates(command) { &[][..] } else { id.0.as_bytes() };
        let record = caller.record(scope, command, &reply)?;
        let mut context = self.context(caller);
        // A new session's stream is empty; there is nothing to load.
        let mut state = self.sessions.take(id).unwrap_or_default();
        if state.version == 0 && !creates(command) {
            self.catch_up(id, &mut state).await?;
        }
        for attempt in 0..TRIES {
            let events = match decide(&state.session, command, &context) {
                Ok(events) if !events.is_empty() => events,
                unchanged => {
                    // No append will check the version: what is known here may be behind, and
                    // the log has the last word.
                    let known = (&mut state, &mut context);
                    if attempt == 0 && self.look_again(id, known, &unchanged).await? {
                        continue;
                    }
                    let session = Some(Arc::clone(&state.session));
                    self.sessions.put(id, state);
                    let events = match self.first_time(caller, record.as_ref()).await? {
                        Some((outcome, last)) => return Executed::repeated(&outcome, last),
                        None => unchanged?,
                    };
                    return Ok(Executed { session, ..Executed::new(reply, None, events) });
                }
            };
            let stream = self.stream(id, &state, &events, &caller.metadata(command.name()))?;
            let bill = self.bill(&state.session, &events, &context);
            match self.append(stream, bill, record.clone(), command, caller).await {
                Ok(Outcome::Appended { last, billed }) => {
                    let session = Some(self.appended(id, state, &events));
                    return Ok(Executed { session, billed, ..Executed::new(reply, last, events) });
                }
                Ok(Outcome::Repeated { outcome, last }) => {
                    return Executed::repeated(&outcome, last);
                }
                Ok(Outcome::SessionMoved) => {
                    back_off(attempt).await;
                    self.catch_up(id, &mut state).await?;
                }
                Err(refused @ CommandError::Quota { .. }) => {
                    self.sessions.put(id, state);
                    let first = self.first_time(caller, record.as_ref()).await?;
                    let (outcome, last) = first.ok_or(refused)?;
                    return Executed::repeated(&outcome, last);
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommandError::Contended)
    }

    /// The session as the log has it now.
    pub async fn load(&self, id: SessionId) -> Result<Arc<Session>, CommandError> {
        let mut state = self.sessions.take(id).unwrap_or_default();
        self.catch_up(id, &mut state).await?;
        let session = Arc::clone(&state.session);
        self.sessions.put(id, state);
        Ok(session)
    }

    fn context(&self, caller: &Caller) -> Context {
        Context {
            now: self.clock.now(),
            actor: caller.actor.clone(),
            models: Arc::clone(&self.catalog.current().models),
            attempts: self.attempts,
        }
    }

    /// Whether the log knows more of what led to `decided`; of the catalog only if that was about
    /// a model.
    async fn look_again(
        &self,
        id: SessionId,
        (state, context): (&mut Versioned, &mut Context),
        decided: &Result<Vec<SessionEvent>, Rejection>,
    ) -> Result<bool, CommandError> {
        use Rejection::{MaxTokensTooLarge, ModelDisabled, NoModel, UnknownModel};
        let mut changed = self.catch_up(id, state).await?;
        if let Err(UnknownModel(_) | ModelDisabled(_) | NoModel | MaxTokensTooLarge { .. }) =
            decided
        {
            let current = self.catalog.catch_up().await?;
            changed |= current.models != context.models;
            context.models = Arc::clone(&current.models);
        }
        Ok(changed)
    }

    /// Folds in what the log has beyond `state`; tells whether there was anything.
    async fn catch_up(&self, id: SessionId, state: &mut Versioned) -> Result<bool, StoreError> {
        let events = self.store.load::<Session>(&id.to_string(), state.version).await?;
        for loaded in &events {
            Arc::make_mut(&mut state.session).apply(&loaded.event);
            state.version = loaded.sequence;
        }
        Ok(!events.is_empty())
    }

    fn bill(&self, session: &Session, events: &[SessionEvent], context: &Context) -> Option<Bill> {
        billing::bill(session, events, &context.models, &self.policy)
    }

    /// Appends the session's events: alone, or with the account's in the account's lane.
    async fn append(
        &self,
        stream: StreamAppend,
        bill: Option<Bill>,
        record: Option<CommandRecord>,
        command: &SessionCommand,
        caller: &Caller,
    ) -> Result<Outcome, CommandError> {
        let tenant_id = caller.actor.tenant_id.clone();
        let Some(bill) = bill else {
            let last = stream.events.len().saturating_sub(1);
            let records = record.into_iter().map(|one| CommandRecord { last, ..one }).collect();
            let (tenant_id, streams) = (tenant_id.to_string(), vec![stream]);
            let append = AppendCommand { tenant_id, records, streams };
            return Ok(match self.store.append(append).await? {
                Verdict::Appended { last, .. } | Verdict::Duplicate { last, outcome: None, .. } => {
                    Outcome::Appended { last: Some(last), billed: None }
                }
                Verdict::Duplicate { last, outcome: Some(outcome), .. } => {
                    Outcome::Repeated { outcome: outcome.get().to_owned(), last }
                }
                Verdict::Reused => return Err(CommandError::IdReused),
                Verdict::Conflict => Outcome::SessionMoved,
            });
        };
        let order = Order {
            tenant_id,
            context: self.quota_context(&bill.owner, caller),
            metadata: caller.metadata(command.name()),
            session: Some(stream),
            record,
            commands: bill.commands.clone(),
        };
        self.lanes.submit(bill.account_id(), order).await
    }

    /// Folds the appended events in.
    fn appended(
        &self,
        id: SessionId,
        mut state: Versioned,
        events: &[SessionEvent],
    ) -> Arc<Session> {
        for event in events {
            Arc::make_mut(&mut state.session).apply(event);
            state.version += 1;
        }
        let session = Arc::clone(&state.session);
        self.sessions.put(id, state);
        session
    }

    fn stream(
        &self,
        id: SessionId,
        state: &Versioned,
        events: &[SessionEvent],
        metadata: &Arc<str>,
    ) -> Result<StreamAppend, CommandError> {
        let new_event = |event: &SessionEvent| new_event(&*self.ids, event.name(), event, metadata);
        Ok(StreamAppend {
            aggregate_type: SESSION,
            aggregate_id: id.to_string(),
            expected_version: state.version,
            events: events.iter().map(new_event).collect::<Result<_, _>>()?,
        })
    }
}

fn creates(command: &SessionCommand) -> bool {
    matches!(command, SessionCommand::CreateSession(_) | SessionCommand::CreateCompletion(_))
}
