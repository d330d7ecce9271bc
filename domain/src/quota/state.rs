//! An account as its events leave it; how they do stands in `apply`.
//!
//! The state is small whatever the account's age: windows carry sums, not entries, and a hold
//! goes with its settlement.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{ReservationId, TenantId, UserId};
use crate::prices::Price;
use crate::quota::amount::{Amount, Sum};
use crate::quota::event::Level;
use crate::quota::limits::{LimitKind, LimitOverrides, Limits};

/// What requests per minute are counted over.
pub(super) const MINUTE: TimeDelta = TimeDelta::seconds(60);

/// What was used in a day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Its first day, UTC; none before anything was used.
    pub start: Option<NaiveDate>,
    /// What was used in it.
    pub used: Amount,
    /// When it was last reset, if it was: what was used before counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<DateTime<Utc>>,
}

impl Window {
    /// The window that begins at `start`: this one, or a new one if time has gone on.
    #[must_use]
    pub fn at(self, start: NaiveDate) -> Self {
        if self.start.is_some_and(|current| current >= start) {
            return self;
        }
        Self { start: Some(start), ..Self::default() }
    }
}

/// What is held for a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How much; counts as used until the turn ends or the hold expires.
    pub amount: Amount,
    /// How many of its tokens are for the answer.
    pub answer_tokens: u32,
    /// The price that the settlement uses.
    pub price: Option<Price>,
    /// When that price was asked for.
    pub priced_at: DateTime<Utc>,
    /// The service that will use it.
    pub service: String,
    /// The model that will.
    pub model: String,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// Whether it has: then it counts no more, and is kept only for its settlement.
    pub expired: bool,
}

/// The lowest level that was told of a limit, and in which window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// The window's first day.
    pub window: Option<NaiveDate>,
    /// The level.
    pub level: Level,
}

/// The state of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is; none before it is opened.
    pub owner: Option<(TenantId, UserId)>,
    /// The tier's name.
    pub tier: String,
    /// The tier's limits, as they were when the account got it.
    pub tier_limits: Limits,
    /// The account's own limits.
    pub overrides: LimitOverrides,
    /// Why it is suspended, if it is.
    pub suspended: Option<String>,
    /// What was used today.
    pub day: Window,
    /// What was used this month.
    pub month: Window,
    /// What was used since it was opened, or its balance reset.
    pub used: Amount,
    /// The sum of its ledger.
    pub balance: Sum,
    /// The balance after something was last added to it: what little is measured against.
    pub balance_base: Sum,
    /// The sum of the holds that count.
    pub held: Amount,
    /// The holds.
    pub holds: BTreeMap<ReservationId, Hold>,
    /// The last minute's requests, as many as the limit is.
    pub recent: VecDeque<DateTime<Utc>>,
    /// What was told of limits of which little is left.
    pub crossed: BTreeMap<LimitKind, Crossed>,
    /// When it was opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// The time of the last event. No command is earlier, whatever its process' clock says.
    pub updated_at: Option<DateTime<Utc>>,
}

/// The first day of `at`'s month.
pub(super) fn month_of(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

impl Account {
    /// The limits that hold.
    pub fn limits(&self) -> Limits {
        self.tier_limits.overridden(&self.overrides)
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.owner.is_some()
    }
}
