//! How events change an account. `apply` is total: it never fails and never decides.

use chrono::{DateTime, Utc};

use crate::credits::Credits;
use crate::ids::ReservationId;
use crate::quota::amount::{Amount, Sum};
use crate::quota::event::{Posting, QuotaEvent, Repriced, ResetScope, Threshold};
use crate::quota::limits::{LimitKind, Limits};
use crate::quota::state::{Account, Crossed, Hold, MINUTE, Window, month_of};

/// Holds that expired and wait for their settlement.
const MOST_EXPIRED: usize = 10_000;

impl Account {
    /// The state after `events`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a QuotaEvent>) -> Self {
        events.into_iter().fold(Self::default(), |mut account, event| {
            account.apply(event);
            account
        })
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &QuotaEvent) {
        let at = event.at().max(self.updated_at.unwrap_or(DateTime::<Utc>::MIN_UTC));
        self.updated_at = Some(at);
        self.day = self.day.at(at.date_naive());
        self.month = self.month.at(month_of(at.date_naive()));
        match event {
            QuotaEvent::AccountOpened { tenant_id, user_id, tier, limits, posting, .. } => {
                self.owner = Some((tenant_id.clone(), user_id.clone()));
                self.opened_at = Some(at);
                self.take_tier(tier, limits, posting);
            }
            QuotaEvent::TierChanged { tier, limits, posting, .. } => {
                self.take_tier(tier, limits, posting);
            }
            QuotaEvent::LimitsOverridden { overrides, posting, .. } => {
                self.overrides = overrides.clone();
                self.grant(posting);
            }
            QuotaEvent::QuotaReserved { reservation_id, .. } => {
                self.reserved(*reservation_id, event, at);
            }
            QuotaEvent::QuotaConsumed { reservation_id, amount, posting, .. } => {
                match reservation_id {
                    Some(id) => drop(self.end_hold(*id)),
                    None => self.requested(at),
                }
                self.charge(*amount);
                self.balance = posting.balance;
            }
            QuotaEvent::ReservationReleased { reservation_id, .. } => {
                drop(self.end_hold(*reservation_id));
            }
            QuotaEvent::ReservationExpired { reservation_id, .. } => {
                if let Some(hold) = self.end_hold(*reservation_id) {
                    self.holds.insert(*reservation_id, Hold { expired: true, ..hold });
                    self.forget_expired();
                }
            }
            QuotaEvent::ThresholdCrossed { threshold, .. } => self.cross(threshold),
            QuotaEvent::QuotaRecharged { posting, .. } => self.post(posting),
            QuotaEvent::QuotaSuspended { reason, .. } => self.suspended = Some(reason.clone()),
            QuotaEvent::QuotaActivated { .. } => self.suspended = None,
            QuotaEvent::QuotaReset { scope, posting, .. } => self.reset(*scope, posting, at),
            QuotaEvent::AdjustmentPosted { posting, reprices, .. } => match reprices {
                Some(repriced) => self.reprice(posting, repriced),
                None => self.post(posting),
            },
        }
    }

    fn take_tier(&mut self, tier: &str, limits: &Limits, posting: &Posting) {
        tier.clone_into(&mut self.tier);
        self.tier_limits = limits.clone();
        self.grant(posting);
    }

    /// Other limits. A smaller grant is measured against what is left of it.
    fn grant(&mut self, posting: &Posting) {
        let (base, change) = (self.balance_base, posting.change);
        self.balance_base = Sum {
            tokens: base.tokens.saturating_add(change.tokens.min(0)),
            credits: base.credits.plus(change.credits.min(Credits::ZERO)),
        };
        self.post(posting);
    }

    /// A line that isn't consumption. What adds to the balance is a new start for what little
    /// is measured against, and its levels can be told of again; unless there is nothing left
    /// still.
    fn post(&mut self, posting: &Posting) {
        let (change, balance) = (posting.change, posting.balance);
        self.balance = balance;
        if change.tokens > 0 && balance.tokens > 0 {
            self.balance_base.tokens = balance.tokens;
            self.crossed.remove(&LimitKind::TokensTotal);
        }
        if change.credits.is_positive() && balance.credits.is_positive() {
            self.balance_base.credits = balance.credits;
            self.crossed.remove(&LimitKind::CreditBalance);
        }
    }

    fn reserved(&mut self, id: ReservationId, event: &QuotaEvent, at: DateTime<Utc>) {
        let QuotaEvent::QuotaReserved {
            service,
            model,
            amount,
            answer_tokens,
            price,
            expires_at,
            extends,
            ..
        } = event
        else {
            return;
        };
        if !extends {
            self.requested(at);
        }
        let hold = self.holds.entry(id).or_insert_with(|| Hold {
            amount: Amount::default(),
            answer_tokens: 0,
            price: *price,
            priced_at: at,
            service: service.clone(),
            model: model.clone(),
            expires_at: *expires_at,
            expired: false,
        });
        // A hold that had expired counts again, as a whole.
        self.held = self.held.plus(if hold.expired { hold.amount } else { Amount::default() });
        hold.expired = false;
        hold.amount = hold.amount.plus(*amount);
        hold.answer_tokens = hold.answer_tokens.saturating_add(*answer_tokens);
        hold.expires_at = *expires_at;
        self.held = self.held.plus(*amount);
    }

    /// Takes a hold out; what it held is free.
    fn end_hold(&mut self, id: ReservationId) -> Option<Hold> {
        let hold = self.holds.remove(&id)?;
        if !hold.expired {
            self.held = self.held.less(hold.amount);
        }
        Some(hold)
    }

    /// Turns end, and holds with them. If some never did, the state would grow: of very many
    /// that expired, the oldest goes.
    fn forget_expired(&mut self) {
        if self.holds.len() <= MOST_EXPIRED {
            return;
        }
        let expired = || self.holds.iter().filter(|(_, hold)| hold.expired);
        if expired().count() > MOST_EXPIRED {
            let oldest = expired().min_by_key(|(_, hold)| hold.expires_at).map(|(id, _)| *id);
            oldest.map(|id| self.holds.remove(&id));
        }
    }

    fn requested(&mut self, at: DateTime<Utc>) {
        let limit = self.limits().requests_per_minute as usize;
        self.recent.push_back(at);
        // No more are ever asked for: with a limit of n, n within a minute refuse the next.
        while self.recent.len() > limit
            || self.recent.front().is_some_and(|oldest| at - *oldest >= MINUTE)
        {
            self.recent.pop_front();
        }
    }

    fn charge(&mut self, amount: Amount) {
        self.day.used = self.day.used.plus(amount);
        self.month.used = self.month.used.plus(amount);
        self.used = self.used.plus(amount);
    }

    fn cross(&mut self, threshold: &Threshold) {
        let crossed = Crossed { window: threshold.window, level: threshold.level };
        self.crossed.insert(threshold.limit, crossed);
    }

    /// A day's and a month's levels were told of, and are not again: they are the window's.
    fn reset(&mut self, scope: ResetScope, posting: &Posting, at: DateTime<Utc>) {
        let all = scope == ResetScope::All;
        if all || scope == ResetScope::Day {
            self.day = Window { used: Amount::default(), reset_at: Some(at), ..self.day };
        }
        if all || scope == ResetScope::Month {
            self.month = Window { used: Amount::default(), reset_at: Some(at), ..self.month };
        }
        if all || scope == ResetScope::Balance {
            self.used = Amount::default();
            self.balance = posting.balance;
            self.balance_base = posting.balance;
            self.crossed.remove(&LimitKind::TokensTotal);
            self.crossed.remove(&LimitKind::CreditBalance);
        }
        if all {
            self.recent.clear();
        }
    }

    /// As if the right price had been charged at once: in the windows, too, if they still run.
    fn reprice(&mut self, posting: &Posting, repriced: &Repriced) {
        self.balance = posting.balance;
        let change = posting.change.credits;
        let correct = |used: &mut Amount| used.credits = used.credits.minus(change).or_zero();
        correct(&mut self.used);
        let consumed = repriced.consumed_at.date_naive();
        for (window, start) in [(&mut self.day, consumed), (&mut self.month, month_of(consumed))] {
            let forgotten = window.reset_at.is_some_and(|reset| repriced.consumed_at < reset);
            if window.start == Some(start) && !forgotten {
                correct(&mut window.used);
            }
        }
    }
}
