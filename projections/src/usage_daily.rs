//! What was used on each day (UTC), by account, service and model.
//!
//! A price that is corrected afterwards counts for the day on which it was charged: the
//! statistics are then as if it had been right at once.

mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};
use domain::quota::{Posting, QUOTA, QuotaEvent, Repriced};
use domain::{AccountId, Credits, TenantId, Usage};
use eventstore::Position;
use uuid::Uuid;

pub use queries::{
    PeakDay, Statistics, UsageGroup, UsageLine, UsageScope, UsageTotals, statistics, usage,
};

use crate::projection::{AccountFact, Fact, FoldError, Projection, Touched, row, storable, tenant};
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// The namespace of the rows' ids (a random UUID, once and for all).
const USAGE: Uuid = Uuid::from_u128(0x2c07_b9e3_81d4_4f5e_b6a2_5d3e_90f1_c748);

row! {
    /// What an account used of a model, by way of a service, on a day.
    pub struct UsageRow keyed by usage_id {
        /// Follows from the account, the day, the service and the model.
        pub usage_id: Uuid,
        /// The account.
        pub account_id: AccountId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// The day, in UTC.
        pub day: NaiveDate,
        /// The service.
        pub service: String,
        /// The model.
        pub model: String,
        /// How often.
        pub requests: i64,
        /// Tokens of prompts, cached ones included.
        pub prompt_tokens: i64,
        /// Tokens of answers, reasoning included.
        pub completion_tokens: i64,
        /// Tokens of prompts that came from the provider's cache.
        pub cached_tokens: i64,
        /// Tokens of answers that were reasoning.
        pub reasoning_tokens: i64,
        /// What it cost, corrections included.
        pub credits: Credits,
        /// Requests whose tokens are our estimate.
        pub estimated_requests: i64,
        /// Tokens of the largest request.
        pub most_tokens: i64,
        /// The event that last changed it.
        pub last_position: Position,
    }
}

impl UsageRow {
    fn add(&mut self, usage: &Usage, cost: Credits) {
        self.requests += 1;
        self.prompt_tokens += i64::from(usage.prompt_tokens);
        self.completion_tokens += i64::from(usage.completion_tokens);
        self.cached_tokens += i64::from(usage.cached_tokens);
        self.reasoning_tokens += i64::from(usage.reasoning_tokens);
        self.credits = self.credits.plus(cost);
        self.estimated_requests += i64::from(usage.estimated);
        let tokens = i64::from(usage.prompt_tokens) + i64::from(usage.completion_tokens);
        self.most_tokens = self.most_tokens.max(tokens);
    }
}

/// The projection `usage_daily`.
pub(crate) struct UsageDaily;

impl Projection for UsageDaily {
    const MODEL: ReadModel = ReadModel::UsageDaily;
    const STREAMS: &'static [&'static str] = &[QUOTA];
    type Row = UsageRow;

    fn touch(fact: &Fact<'_>, touched: &mut Touched) {
        let Fact::Account(fact) = fact else { return };
        if let Some(place) = Place::of(fact.event) {
            touched.changes(place.id(fact.account_id));
        }
    }

    fn apply(rows: &mut Rows<UsageRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let Fact::Account(fact) = fact else { return Ok(()) };
        let Some(place) = Place::of(fact.event) else { return Ok(()) };
        let id = place.id(fact.account_id);
        match fact.event {
            QuotaEvent::QuotaConsumed { usage, amount, .. } => {
                if rows.find(id).is_none() {
                    rows.insert(place.row(fact)?);
                }
                rows.change(id)?.add(usage, amount.credits);
            }
            QuotaEvent::AdjustmentPosted { posting: Posting { change, .. }, .. } => {
                // In the account's favour is what it costs less.
                let row = rows.change(id)?;
                row.credits = row.credits.minus(change.credits);
            }
            _ => return Ok(()),
        }
        rows.change(id)?.last_position = fact.position;
        Ok(())
    }
}

/// What a row is about, its account aside.
struct Place<'a> {
    at: DateTime<Utc>,
    service: &'a str,
    model: &'a str,
}

impl<'a> Place<'a> {
    /// Where `event` counts, if it does.
    fn of(event: &'a QuotaEvent) -> Option<Self> {
        match event {
            QuotaEvent::QuotaConsumed { service, model, at, .. } => {
                Some(Self { at: *at, service, model })
            }
            QuotaEvent::AdjustmentPosted {
                reprices: Some(Repriced { service, model, consumed_at, .. }),
                ..
            } => Some(Self { at: *consumed_at, service, model }),
            _ => None,
        }
    }

    fn day(&self) -> NaiveDate {
        self.at.date_naive()
    }

    fn id(&self, account_id: AccountId) -> Uuid {
        // Names have no line breaks.
        let name = format!("{account_id}\n{}\n{}\n{}", self.day(), self.service, self.model);
        Uuid::new_v5(&USAGE, name.as_bytes())
    }

    fn row(&self, fact: &AccountFact<'_>) -> Result<UsageRow, FoldError> {
        Ok(UsageRow {
            usage_id: self.id(fact.account_id),
            account_id: fact.account_id,
            tenant_id: tenant(fact.tenant_id)?,
            day: self.day(),
            service: storable(self.service),
            model: storable(self.model),
            requests: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: 0,
            reasoning_tokens: 0,
            credits: Credits::ZERO,
            estimated_requests: 0,
            most_tokens: 0,
            last_position: fact.position,
        })
    }
}
