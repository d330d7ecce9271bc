//! The limits of an account side by side with what is used of them, at one moment.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};

use crate::credits::Credits;
use crate::ids::TurnId;
use crate::quota::amount::{Amount, Quantity, Sum};
use crate::quota::event::{Level, QuotaEvent, Threshold};
use crate::quota::limits::{LimitKind, Limits};
use crate::quota::state::{Account, MINUTE, month_of};

/// What is known of the limits at `now`.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    pub(super) limits: Limits,
    pub(super) now: DateTime<Utc>,
    pub(super) day: Amount,
    pub(super) month: Amount,
    pub(super) held: Amount,
    pub(super) balance: Sum,
    pub(super) balance_base: Sum,
}

impl Meters {
    pub(super) fn of(account: &Account, now: DateTime<Utc>) -> Self {
        let today = now.date_naive();
        Self {
            limits: account.limits(),
            now,
            day: account.day.at(today).used,
            month: account.month.at(month_of(today)).used,
            held: account.held,
            balance: account.balance,
            balance_base: account.balance_base,
        }
    }

    /// After `amount` was consumed and posted.
    #[must_use]
    pub(super) fn consumed(mut self, amount: Amount) -> Self {
        self.day = self.day.plus(amount);
        self.month = self.month.plus(amount);
        self.balance = self.balance.minus(amount.into());
        self
    }

    /// What was used of a limit, and what may be; none for a limit that isn't set. Requests are
    /// not counted here.
    pub(super) fn gauge(&self, kind: LimitKind) -> Option<Gauge> {
        let limits = &self.limits;
        let gauge = match kind {
            LimitKind::RequestsPerMinute => None,
            LimitKind::TokensPerDay => Gauge::tokens(limits.tokens_per_day, self.day),
            LimitKind::TokensPerMonth => Gauge::tokens(limits.tokens_per_month, self.month),
            LimitKind::CreditsPerDay => Gauge::credits(limits.credits_per_day, self.day),
            LimitKind::CreditsPerMonth => Gauge::credits(limits.credits_per_month, self.month),
            LimitKind::TokensTotal => (limits.tokens_total > 0)
                .then(|| Gauge::left(whole(self.balance_base.tokens), whole(self.balance.tokens))),
            LimitKind::CreditBalance => limits
                .credit_balance
                .is_positive()
                .then(|| Gauge::left(self.balance_base.credits, self.balance.credits)),
        };
        gauge.map(|gauge| Gauge { held: in_unit(kind, self.held), ..gauge })
    }

    /// What was used that the limit is about; `lifetime` is what was used since the account was
    /// opened.
    pub(super) fn used(&self, kind: LimitKind, lifetime: Amount) -> Credits {
        let amount = match kind {
            LimitKind::RequestsPerMinute => Amount::default(),
            LimitKind::TokensPerDay | LimitKind::CreditsPerDay => self.day,
            LimitKind::TokensPerMonth | LimitKind::CreditsPerMonth => self.month,
            LimitKind::TokensTotal | LimitKind::CreditBalance => lifetime,
        };
        in_unit(kind, amount)
    }

    /// The first day of the limit's window.
    pub(super) fn window(&self, kind: LimitKind) -> Option<NaiveDate> {
        let today = self.now.date_naive();
        match kind {
            LimitKind::TokensPerDay | LimitKind::CreditsPerDay => Some(today),
            LimitKind::TokensPerMonth | LimitKind::CreditsPerMonth => Some(month_of(today)),
            _ => None,
        }
    }

    /// When the limit's next window begins; none for one that never renews by itself.
    pub(super) fn renews_at(&self, kind: LimitKind) -> Option<DateTime<Utc>> {
        let start = self.window(kind)?;
        let next = match kind {
            LimitKind::TokensPerDay | LimitKind::CreditsPerDay => {
                start.checked_add_days(Days::new(1))
            }
            _ => start.checked_add_months(Months::new(1)),
        };
        Some(next?.and_time(NaiveTime::MIN).and_utc())
    }

    /// The levels that are reached here and were not told of yet.
    pub(super) fn crossings(&self, account: &Account, turn_id: Option<TurnId>) -> Vec<QuotaEvent> {
        let mut events = Vec::new();
        for kind in LimitKind::ALL {
            let Some(gauge) = self.gauge(kind) else { continue };
            let window = self.window(kind);
            let told = account.crossed.get(&kind).filter(|crossed| crossed.window == window);
            let reached = gauge.level();
            for level in Level::ALL {
                if Some(level) <= reached && told.is_none_or(|told| level > told.level) {
                    let (left, of) = (gauge.left.or_zero(), gauge.of.or_zero());
                    let (left, of) = (quantity(kind, left), quantity(kind, of));
                    let threshold = Threshold { limit: kind, level, window, left, of };
                    events.push(QuotaEvent::ThresholdCrossed { threshold, turn_id, at: self.now });
                }
            }
        }
        events
    }
}

/// One limit. Tokens are counted in whole credits here: one arithmetic for both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge {
    /// How much may be used.
    pub(super) of: Credits,
    /// What is left of it, holds apart.
    pub(super) left: Credits,
    /// What of that is held.
    pub(super) held: Credits,
}

impl Gauge {
    fn tokens(limit: u64, used: Amount) -> Option<Self> {
        let of = whole(Sum::from(Amount { tokens: limit, ..Amount::default() }).tokens);
        Self::set(of, whole(Sum::from(used).tokens))
    }

    fn credits(limit: Credits, used: Amount) -> Option<Self> {
        Self::set(limit, used.credits)
    }

    fn set(of: Credits, used: Credits) -> Option<Self> {
        of.is_positive().then(|| Self::left(of, of.minus(used)))
    }

    fn left(of: Credits, left: Credits) -> Self {
        Self { of, left, held: Credits::ZERO }
    }

    /// What may still be asked for.
    pub(super) fn free(self) -> Credits {
        self.left.minus(self.held)
    }

    /// How little is left, if it is little. What is only held doesn't count: it may come back.
    pub(super) fn level(self) -> Option<Level> {
        if !self.left.is_positive() {
            Some(Level::Exhausted)
        } else if self.left.times(10) <= self.of {
            Some(Level::Critical)
        } else if self.left.times(5) <= self.of {
            Some(Level::Warning)
        } else {
            None
        }
    }
}

fn whole(tokens: i64) -> Credits {
    Credits::whole(tokens)
}

fn counts_tokens(kind: LimitKind) -> bool {
    matches!(kind, LimitKind::TokensPerDay | LimitKind::TokensPerMonth | LimitKind::TokensTotal)
}

/// An amount in the limit's own unit.
pub(super) fn quantity(kind: LimitKind, amount: Credits) -> Quantity {
    if counts_tokens(kind) { Quantity::Count(amount.as_count()) } else { Quantity::Credits(amount) }
}

/// `amount` in the unit in which `kind` is gauged.
pub(super) fn in_unit(kind: LimitKind, amount: Amount) -> Credits {
    if counts_tokens(kind) { whole(Sum::from(amount).tokens) } else { amount.credits }
}

/// When the next request may come, if the minute is full.
pub(super) fn minute_full_until(account: &Account, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let limit = account.limits().requests_per_minute as usize;
    if limit == 0 || requests_within_minute(account, now) < limit {
        return None;
    }
    let first = account.recent.len().checked_sub(limit)?;
    account.recent.get(first).map(|oldest| *oldest + MINUTE)
}

/// Requests of the last minute.
pub(super) fn requests_within_minute(account: &Account, now: DateTime<Utc>) -> usize {
    account.recent.iter().rev().take_while(|at| now - **at < MINUTE).count()
}
