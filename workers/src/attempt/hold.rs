//! The quota held for an answer, which grows with it.
//!
//! An answer whose length nobody limited is held for in steps: the next one is asked for
//! while there is still half a step of room, so a stream seldom waits for it. When the account
//! has no more room the answer goes on as far as it is held for; if it is longer it ends there,
//! cut short, and says why.

use std::sync::Arc;
use std::time::Duration;

use commands::{AccountExecuted, Caller, CommandError};
use domain::quota::{QuotaCommand, QuotaEvent, ReserveQuota};
use domain::session::Turn;
use domain::{ReservationId, TenantId, TurnId, UserId, billing};
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::worker::Deps;

/// How long a hold lasts that is said to last for ever.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What became of a step.
enum Step {
    /// So many tokens are held.
    Granted(u32),
    /// There is no room; the code of the reason.
    Refused(&'static str),
}

/// How much of the answer is held, and the step that is being asked for.
pub(super) struct Hold {
    deps: Arc<Deps>,
    owner: (TenantId, UserId),
    turn_id: TurnId,
    model: String,
    /// Tokens of the answer that are held.
    held: u32,
    /// Tokens that the answer has at most.
    longest: u32,
    step: u32,
    /// The tokens that are being asked for, and the answer to it.
    asking: Option<(u32, BoxFuture<'static, Step>)>,
    /// Why there are no further steps; the code of the reason.
    refused: Option<&'static str>,
    /// When the account is to hear that the turn is alive, or the hold would expire.
    renew_at: Instant,
    /// Between two such signs of life.
    renew_every: Duration,
}

impl Hold {
    /// The hold that the turn's request has made, with what earlier attempts added to it.
    pub(super) async fn of(
        deps: &Arc<Deps>,
        owner: (TenantId, UserId),
        turn_id: TurnId,
        turn: &Turn,
    ) -> Self {
        let mut hold = Self::requested(deps, owner, turn_id, turn);
        if turn.attempt > 1
            && let Ok(account) = deps.bus.account(&hold.owner).await
            && let Some(kept) = account.holds.get(&turn_id.into())
        {
            hold.held = kept.answer_tokens;
        }
        hold
    }

    fn requested(
        deps: &Arc<Deps>,
        owner: (TenantId, UserId),
        turn_id: TurnId,
        turn: &Turn,
    ) -> Self {
        let current = deps.bus.catalog().current();
        let model = turn.settings.model.clone().unwrap_or_default();
        let longest = current.models.get(&model).map_or(u32::MAX, |model| model.max_output);
        let held = billing::answer_hold(&turn.settings, Some(longest), deps.bus.policy());
        let renew_every = deps.bus.policy().hold.to_std().unwrap_or(LONGEST) / 2;
        // It may have waited for long: then it is time at once.
        let age = deps.bus.clock().now() - turn.requested_at;
        let renew_in = renew_every.saturating_sub(age.to_std().unwrap_or_default());
        Self {
            deps: Arc::clone(deps),
            owner,
            turn_id,
            model,
            held,
            longest: turn.settings.max_tokens.unwrap_or(longest),
            step: deps.bus.policy().answer_step,
            asking: None,
            refused: None,
            renew_at: Instant::now() + renew_in,
            renew_every,
        }
    }

    /// The answer has grown to `tokens`: asks for the next step if it is time.
    pub(super) fn grow(&mut self, tokens: u32) {
        if self.asking.is_some() {
            return;
        }
        let near = tokens.saturating_add(self.step / 2) > self.held;
        if near && self.held < self.longest && self.refused.is_none() {
            // Whole steps, as many as a fast model is ahead.
            let missing = tokens.saturating_sub(self.held).saturating_add(self.step);
            let more = missing.next_multiple_of(self.step).min(self.longest - self.held);
            self.asking = Some((more, self.ask(more)));
        } else if Instant::now() >= self.renew_at {
            self.asking = Some((0, self.ask(0)));
        } else {
            return;
        }
        self.renew_at = Instant::now() + self.renew_every;
    }

    /// When to look at it again though the answer hasn't grown; not while it asks.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.asking.is_none().then_some(self.renew_at)
    }

    /// Whether an answer of `tokens` may go on before the step is held.
    pub(super) fn has_room(&self, tokens: u32) -> bool {
        self.asking.is_none() || tokens < self.held
    }

    /// Why an answer of `tokens` can't go on, if it can't: all that is held is used, and there
    /// is no more.
    pub(super) fn used_up(&self, tokens: u32) -> Option<&'static str> {
        self.refused.filter(|_| tokens >= self.held)
    }

    /// Takes in the outcome of the step that is being asked for; never ends if none is.
    pub(super) async fn settled(&mut self) {
        let Some((more, asking)) = &mut self.asking else { return std::future::pending().await };
        match (*more, asking.await) {
            (_, Step::Granted(tokens)) => self.held = self.held.saturating_add(tokens),
            // A hold that had expired, and whose room was taken: the turn was accepted, it goes
            // on.
            (0, Step::Refused(_)) => {}
            (_, Step::Refused(code)) => self.refused = Some(code),
        }
        self.asking = None;
    }

    fn ask(&self, more: u32) -> BoxFuture<'static, Step> {
        let command = QuotaCommand::ReserveQuota(ReserveQuota {
            reservation_id: ReservationId::from(self.turn_id),
            service: billing::CHAT.to_owned(),
            model: self.model.clone(),
            prompt_tokens: 0,
            answer_tokens: more,
            extends: true,
        });
        let (deps, owner) = (Arc::clone(&self.deps), self.owner.clone());
        let caller = Caller::system(owner.0.clone(), self.turn_id.to_string());
        Box::pin(async move {
            match deps.bus.execute_quota(&owner, vec![command], &caller).await {
                Ok(executed) => Step::Granted(granted(&executed).unwrap_or(more)),
                Err(CommandError::Quota { rejection, .. }) if rejection.is_for_want_of_room() => {
                    Step::Refused(rejection.code())
                }
                // A turn from before there were accounts has no hold. And the answer doesn't
                // suffer from trouble of ours: it is settled by what it uses in any case.
                Err(error) => {
                    tracing::warn!(%error, "more quota could not be asked for");
                    Step::Granted(more)
                }
            }
        })
    }
}

/// Tokens of the answer that the account has added to the hold: fewer than asked for, if there
/// was no room for all.
fn granted(executed: &AccountExecuted) -> Option<u32> {
    executed.billed.iter().flat_map(|billed| &billed.events).find_map(|event| match event {
        QuotaEvent::QuotaReserved { answer_tokens, .. } => Some(*answer_tokens),
        _ => None,
    })
}
