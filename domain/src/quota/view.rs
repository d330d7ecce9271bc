//! An account as its owner sees it: every limit with what is used, held and left.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::quota::amount::{Quantity, Sum};
use crate::quota::event::Level;
use crate::quota::limits::LimitKind;
use crate::quota::meters::{
    Gauge, Meters, in_unit, minute_full_until, quantity, requests_within_minute,
};
use crate::quota::state::Account;

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It may.
    Active,
    /// A limit is used up.
    Exhausted,
    /// An admin has closed it for now.
    Suspended,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitView {
    /// Which one.
    pub kind: LimitKind,
    /// How much may be used; none if it isn't limited.
    pub limit: Option<Quantity>,
    /// What was used.
    pub used: Quantity,
    /// What running turns hold.
    pub reserved: Quantity,
    /// What may still be asked for; none if it isn't limited.
    pub remaining: Option<Quantity>,
    /// When the next window begins, or the next request may come.
    pub renews_at: Option<DateTime<Utc>>,
    /// How little is left, if it was told of.
    pub level: Option<Level>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountView {
    /// Its tier.
    pub tier: String,
    /// Whether it may be used.
    pub status: AccountStatus,
    /// Why it is suspended.
    pub suspended_for: Option<String>,
    /// The sum of its ledger.
    pub balance: Sum,
    /// All limits.
    pub limits: Vec<LimitView>,
}

impl Account {
    /// The account at `now`, or at its last event if a faster clock made that.
    pub fn view(&self, now: DateTime<Utc>) -> AccountView {
        let now = self.updated_at.map_or(now, |last| now.max(last));
        let meters = Meters::of(self, now);
        let mut limits = vec![self.requests(now)];
        let gauged =
            LimitKind::ALL.into_iter().filter(|kind| *kind != LimitKind::RequestsPerMinute);
        limits.extend(gauged.map(|kind| self.limit(kind, &meters)));
        let none_left = |limit: &LimitView| {
            limit.kind != LimitKind::RequestsPerMinute && limit.level == Some(Level::Exhausted)
        };
        let status = if self.suspended.is_some() {
            AccountStatus::Suspended
        } else if limits.iter().any(none_left) {
            AccountStatus::Exhausted
        } else {
            AccountStatus::Active
        };
        AccountView {
            tier: self.tier.clone(),
            status,
            suspended_for: self.suspended.clone(),
            balance: self.balance,
            limits,
        }
    }

    fn limit(&self, kind: LimitKind, meters: &Meters) -> LimitView {
        let used = meters.used(kind, self.used);
        let gauge = meters.gauge(kind);
        LimitView {
            kind,
            limit: gauge.map(|gauge| quantity(kind, gauge.left.plus(used).or_zero())),
            used: quantity(kind, used),
            reserved: quantity(kind, in_unit(kind, self.held)),
            remaining: gauge.map(|gauge| quantity(kind, gauge.free().or_zero())),
            renews_at: meters.renews_at(kind),
            level: gauge.and_then(Gauge::level),
        }
    }

    fn requests(&self, now: DateTime<Utc>) -> LimitView {
        let limit = u64::from(self.limits().requests_per_minute);
        let used = requests_within_minute(self, now) as u64;
        let limited = limit > 0;
        LimitView {
            kind: LimitKind::RequestsPerMinute,
            limit: limited.then_some(Quantity::Count(limit)),
            used: Quantity::Count(used),
            reserved: Quantity::Count(0),
            remaining: limited.then(|| Quantity::Count(limit.saturating_sub(used))),
            renews_at: minute_full_until(self, now),
            level: None,
        }
    }
}
