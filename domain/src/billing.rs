//! What a session's events mean for its owner's account: a turn that is requested holds quota,
//! and the end of the turn settles it. Both go into one append with the session's events, so
//! there is no turn without its hold and no end without its bill.

use std::collections::HashMap;
use std::sync::Arc;

use crate::completion::{Completion, Usage};
use crate::content::Message;
use crate::ids::{AccountId, MessageId, ReservationId, TenantId, TurnId, UserId};
use crate::models::Models;
use crate::quota::{ConsumeQuota, QuotaCommand, QuotaPolicy, ReserveQuota};
use crate::session::{ATTEMPT_AT_WORK, Session, SessionEvent, TurnStatus, prompt};
use crate::settings::Settings;

/// The service that turns of sessions are billed as.
pub const CHAT: &str = "chat";

/// What one append means for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Whose account it is: that of the session's owner, whoever acts.
    pub owner: (TenantId, UserId),
    /// What to ask of it, in order.
    pub commands: Vec<QuotaCommand>,
}

impl Bill {
    /// The account.
    pub fn account_id(&self) -> AccountId {
        AccountId::of(&self.owner.0, &self.owner.1)
    }
}

/// The bill for `events`, which `session` is about to take in; none if they cost nothing and
/// free nothing.
pub fn bill(
    session: &Session,
    events: &[SessionEvent],
    models: &Models,
    policy: &QuotaPolicy,
) -> Option<Bill> {
    let billing = Billing { session, events, models, policy };
    let commands: Vec<QuotaCommand> =
        events.iter().filter_map(|event| billing.command(event)).collect();
    let owner = billing.owner()?;
    (!commands.is_empty()).then_some(Bill { owner, commands })
}

/// The tokens that are held at first for an answer of a model which gives at most `longest`.
/// One that nobody limited is held for in steps: few are as long as they may be.
pub fn answer_hold(settings: &Settings, longest: Option<u32>, policy: &QuotaPolicy) -> u32 {
    let step = policy.answer_step;
    settings.max_tokens.unwrap_or_else(|| longest.map_or(step, |longest| longest.min(step)))
}

/// What an attempt asks of the account when its turn has ended without it: to charge what it
/// used, or to end the hold if that is nothing or unknown. A hold that is gone is no matter.
pub fn settle(session: &Session, turn_id: TurnId, used: Option<Usage>) -> QuotaCommand {
    match used.filter(|used| used.total_tokens() > 0) {
        Some(usage) => consume(session, turn_id, usage),
        None => release(turn_id, "cancelled"),
    }
}

struct Billing<'a> {
    session: &'a Session,
    events: &'a [SessionEvent],
    models: &'a Models,
    policy: &'a QuotaPolicy,
}

impl Billing<'_> {
    fn owner(&self) -> Option<(TenantId, UserId)> {
        let created = self.events.iter().find_map(|event| match event {
            SessionEvent::SessionCreated { tenant_id, user_id, .. } => {
                Some((tenant_id.clone(), user_id.clone()))
            }
            _ => None,
        });
        created.or_else(|| self.session.owner.clone())
    }

    fn command(&self, event: &SessionEvent) -> Option<QuotaCommand> {
        match event {
            SessionEvent::TurnRequested { turn_id, message_id, settings, .. } => {
                Some(self.reserve(*turn_id, *message_id, settings))
            }
            SessionEvent::TurnCompleted { turn_id, completion, .. } => {
                Some(consume(self.session, *turn_id, completion.usage))
            }
            SessionEvent::TurnCancelled { turn_id, completion, .. } => {
                if self.is_left_to_its_attempt(*turn_id, completion.as_ref()) {
                    return None;
                }
                let used = completion.as_ref().map(|completion| completion.usage);
                Some(settle(self.session, *turn_id, used))
            }
            SessionEvent::TurnFailed { turn_id, error, .. } => Some(release(*turn_id, &error.code)),
            _ => None,
        }
    }

    /// Whether the turn ends while an attempt is at it, for its session is deleted or it did not
    /// stop in time. The hold then stays until the attempt tells what it used ([`settle`]).
    fn is_left_to_its_attempt(&self, turn_id: TurnId, completion: Option<&Completion>) -> bool {
        let turn = self.session.turn(turn_id);
        let at_work = turn.is_some_and(|turn| turn.status == TurnStatus::Running);
        let untold = completion
            .is_none_or(|completion| completion.stopped_by.as_deref() == Some(ATTEMPT_AT_WORK));
        at_work && untold
    }

    fn reserve(&self, turn_id: TurnId, newest: MessageId, settings: &Settings) -> QuotaCommand {
        let model = settings.model.as_deref().and_then(|name| self.models.get(name));
        let prompt_tokens = model.map_or(0, |model| {
            let brought = self.brought();
            let find = |id| {
                let brought = brought.get(&id).map(|message| Arc::new((*message).clone()));
                brought.or_else(|| self.session.messages.get(&id).cloned())
            };
            let prompt = prompt(newest, settings, model, find);
            prompt.estimated_tokens(settings).min(model.context)
        });
        QuotaCommand::ReserveQuota(ReserveQuota {
            reservation_id: ReservationId::from(turn_id),
            service: CHAT.to_owned(),
            model: settings.model.clone().unwrap_or_default(),
            prompt_tokens,
            answer_tokens: answer_hold(settings, model.map(|model| model.max_output), self.policy),
            extends: false,
        })
    }

    /// The messages that the events bring. A stateless call brings its whole history, so they
    /// are not searched for each one.
    fn brought(&self) -> HashMap<MessageId, &Message> {
        let messages = self.events.iter().flat_map(|event| match event {
            SessionEvent::MessageSent { message } => std::slice::from_ref(message),
            SessionEvent::MessagesImported { messages, .. } => messages,
            _ => &[],
        });
        messages.map(|message| (message.id, message)).collect()
    }
}

fn consume(session: &Session, turn_id: TurnId, usage: Usage) -> QuotaCommand {
    let model = session.turn(turn_id).and_then(|turn| turn.settings.model.clone());
    QuotaCommand::ConsumeQuota(ConsumeQuota {
        entry_id: turn_id.0,
        reservation_id: Some(ReservationId::from(turn_id)),
        turn_id: Some(turn_id),
        service: CHAT.to_owned(),
        model: model.unwrap_or_default(),
        usage,
    })
}

fn release(turn_id: TurnId, reason: &str) -> QuotaCommand {
    let (reservation_id, reason) = (ReservationId::from(turn_id), reason.to_owned());
    QuotaCommand::ReleaseReservation { reservation_id, reason }
}
