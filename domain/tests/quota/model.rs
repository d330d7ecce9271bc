//! What an account must come to, worked out the slow way: all events in a list, and every
//! number by going through all of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use domain::quota::{
    Amount, Level, LimitKind, LimitOverrides, Limits, QuotaEvent, ResetScope, Sum,
};
use domain::{Credits, ReservationId};

/// The events so far.
#[derive(Debug, Default)]
pub(crate) struct Model(pub(crate) Vec<QuotaEvent>);

/// What is used of a day, a month, or altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Day(NaiveDate),
    Month(NaiveDate),
}

impl Span {
    fn has(self, at: DateTime<Utc>) -> bool {
        let date = at.date_naive();
        match self {
            Self::Day(day) => date == day,
            Self::Month(month) => (date.year(), date.month()) == (month.year(), month.month()),
        }
    }

    fn is_reset_by(self, scope: ResetScope) -> bool {
        match self {
            Self::Day(_) => matches!(scope, ResetScope::Day | ResetScope::All),
            Self::Month(_) => matches!(scope, ResetScope::Month | ResetScope::All),
        }
    }
}

fn add(amount: &mut Amount, other: Amount) {
    amount.tokens += other.tokens;
    amount.credits = amount.credits.plus(other.credits);
}

impl Model {
    /// The sum of the ledger's lines.
    pub(crate) fn balance(&self) -> Sum {
        let lines = self.0.iter().filter_map(QuotaEvent::posting);
        lines.fold(Sum::default(), |sum, posting| sum.plus(posting.change))
    }

    /// The holds that count.
    pub(crate) fn holds(&self) -> BTreeMap<ReservationId, Amount> {
        self.all_holds()
            .into_iter()
            .filter_map(|(id, (held, on))| on.then_some((id, held)))
            .collect()
    }

    /// All holds that were not settled or released, and whether they count.
    pub(crate) fn all_holds(&self) -> BTreeMap<ReservationId, (Amount, bool)> {
        let mut holds: BTreeMap<ReservationId, (Amount, bool)> = BTreeMap::new();
        for event in &self.0 {
            match event {
                QuotaEvent::QuotaReserved { reservation_id, amount, .. } => {
                    let (held, counts) = holds.entry(*reservation_id).or_default();
                    add(held, *amount);
                    *counts = true;
                }
                QuotaEvent::ReservationExpired { reservation_id, .. } => {
                    holds.get_mut(reservation_id).unwrap().1 = false;
                }
                QuotaEvent::ReservationReleased { reservation_id, .. }
                | QuotaEvent::QuotaConsumed { reservation_id: Some(reservation_id), .. } => {
                    holds.remove(reservation_id).unwrap();
                }
                _ => {}
            }
        }
        holds
    }

    /// What all holds that count come to.
    pub(crate) fn held(&self) -> Amount {
        let mut sum = Amount::default();
        self.holds().into_values().for_each(|held| add(&mut sum, held));
        sum
    }

    /// What was used within `span`.
    pub(crate) fn used(&self, span: Span) -> Amount {
        let mut used = Amount::default();
        let mut reset_at = DateTime::<Utc>::MIN_UTC;
        for event in self.0.iter().filter(|event| span.has(event.at())) {
            match event {
                QuotaEvent::QuotaConsumed { amount, .. } => add(&mut used, *amount),
                QuotaEvent::QuotaReset { scope, at, .. } if span.is_reset_by(*scope) => {
                    (used, reset_at) = (Amount::default(), *at);
                }
                QuotaEvent::AdjustmentPosted { reprices: Some(entry), posting, .. }
                    if span.has(entry.consumed_at) && entry.consumed_at >= reset_at =>
                {
                    let corrected = used.credits.minus(posting.change.credits);
                    used.credits = corrected.max(Credits::ZERO);
                }
                _ => {}
            }
        }
        used
    }

    /// The limits that hold.
    pub(crate) fn limits(&self) -> Limits {
        limits_after(&self.0)
    }

    /// The requests of the last sixty seconds that an account with such limits counts: none
    /// while it is unlimited.
    pub(crate) fn requests(&self, now: DateTime<Utc>) -> usize {
        let mut requests = Vec::new();
        for (index, event) in self.0.iter().enumerate() {
            let is_request = match event {
                QuotaEvent::QuotaReserved { extends, .. } => !extends,
                QuotaEvent::QuotaConsumed { reservation_id, .. } => reservation_id.is_none(),
                QuotaEvent::QuotaReset { scope: ResetScope::All, .. } => {
                    requests.clear();
                    false
                }
                _ => false,
            };
            if is_request && limits_after(&self.0[..index]).requests_per_minute == 0 {
                requests.clear();
            } else if is_request {
                requests.push(event.at());
            }
        }
        requests.iter().filter(|at| now - **at < TimeDelta::seconds(60)).count()
    }

    /// How often each level was told of: for days and months in each window, for others since
    /// something was last added.
    pub(crate) fn tellings(&self) -> BTreeMap<(LimitKind, Option<NaiveDate>, Level), usize> {
        let mut told = BTreeMap::new();
        for event in &self.0 {
            if let QuotaEvent::ThresholdCrossed { threshold, .. } = event {
                let key = (threshold.limit, threshold.window, threshold.level);
                *told.entry(key).or_default() += 1;
            }
            let consumes = matches!(event, QuotaEvent::QuotaConsumed { .. });
            let reprices = matches!(event, QuotaEvent::AdjustmentPosted { reprices: Some(_), .. });
            let Some(posting) = event.posting().filter(|_| !consumes && !reprices) else {
                continue;
            };
            let anew = matches!(
                event,
                QuotaEvent::QuotaReset { scope: ResetScope::Balance | ResetScope::All, .. }
            );
            told.retain(|(kind, ..), _| match kind {
                LimitKind::TokensTotal => !anew && posting.change.tokens <= 0,
                LimitKind::CreditBalance => !anew && !posting.change.credits.is_positive(),
                _ => true,
            });
        }
        told
    }
}

fn limits_after(events: &[QuotaEvent]) -> Limits {
    let mut tier = Limits::default();
    let mut own = LimitOverrides::default();
    for event in events {
        match event {
            QuotaEvent::AccountOpened { limits, .. } | QuotaEvent::TierChanged { limits, .. } => {
                tier = limits.clone();
            }
            QuotaEvent::LimitsOverridden { overrides, .. } => own = overrides.clone(),
            _ => {}
        }
    }
    tier.overridden(&own)
}
