//! The ledger: a row for every line of every account. Their sum is the balance.
//!
//! What grants, resets or corrects nothing has no line; consumption always has one.

mod queries;
mod repricing;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::quota::{Posting, QUOTA, QuotaEvent, Repriced};
use domain::{AccountId, Credits, Price, TenantId, TurnId, Usage, UserId};
use eventstore::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use queries::{TransactionCursor, TransactionFilter, list_transactions};
pub use repricing::{RepriceScope, Repriceable, repriceable};

use crate::projection::{AccountFact, Fact, FoldError, Projection, Touched, row, storable, tenant};
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// What a line of the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// What the account's limits grant, or a change of that.
    Grant,
    /// Something was used.
    Consumption,
    /// Somebody paid.
    Recharge,
    /// A correction.
    Adjustment,
    /// The balance was set back to what is granted.
    Reset,
}

impl TransactionKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Consumption => "consumption",
            Self::Recharge => "recharge",
            Self::Adjustment => "adjustment",
            Self::Reset => "reset",
        }
    }
}

row! {
    /// A line of the ledger.
    pub struct TransactionRow keyed by transaction_id {
        /// Its event's id.
        pub transaction_id: Uuid,
        /// The account.
        pub account_id: AccountId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// Its event.
        pub position: Position,
        /// What it is.
        pub kind: TransactionKind,
        /// The entry's id: of consumption, of a recharge, of an adjustment.
        pub entry_id: Option<Uuid>,
        /// The turn that it settles.
        pub turn_id: Option<TurnId>,
        /// The service that used it, or whose use is corrected.
        pub service: Option<String>,
        /// The model that was used, or whose use is corrected.
        pub model: Option<String>,
        /// What was used.
        pub usage: Option<Usage>,
        /// The price that was charged, or should have been; none if it is free.
        pub price: Option<Price>,
        /// When that price was asked for: what an entry is priced by, whenever it is.
        pub priced_at: Option<DateTime<Utc>>,
        /// What it adds to the balance of tokens.
        pub tokens: i64,
        /// What it adds to the balance of money.
        pub credits: Credits,
        /// The tokens after it.
        pub balance_tokens: i64,
        /// The money after it.
        pub balance_credits: Credits,
        /// Whether what was used is our estimate.
        pub estimated: bool,
        /// Whether the hold had expired when it was settled.
        pub late: bool,
        /// Tokens used beyond the hold.
        pub overdrawn_tokens: i64,
        /// The entry whose price it corrects.
        pub reprices: Option<Uuid>,
        /// Why an admin did it.
        pub reason: Option<String>,
        /// The admin.
        pub by_user: Option<UserId>,
        /// When.
        pub at: DateTime<Utc>,
    }
}

/// The projection `transactions`.
pub(crate) struct Transactions;

impl Projection for Transactions {
    const MODEL: ReadModel = ReadModel::Transactions;
    const STREAMS: &'static [&'static str] = &[QUOTA];
    type Row = TransactionRow;

    fn touch(_: &Fact<'_>, _: &mut Touched) {}

    fn apply(rows: &mut Rows<TransactionRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let Fact::Account(fact) = fact else { return Ok(()) };
        if let Some(row) = line(fact)? {
            rows.insert(row);
        }
        Ok(())
    }
}

/// The line that an event makes, if it makes one.
fn line(fact: &AccountFact<'_>) -> Result<Option<TransactionRow>, FoldError> {
    let (Some(posting), Some(kind)) = (fact.event.posting(), kind(fact.event)) else {
        return Ok(None);
    };
    if posting.change.is_zero() && kind != TransactionKind::Consumption {
        return Ok(None);
    }
    let mut row = posted(fact, kind, posting)?;
    match fact.event {
        QuotaEvent::QuotaConsumed { .. } => row.consumed(fact.event),
        QuotaEvent::AdjustmentPosted { reprices: Some(repriced), .. } => row.corrects(repriced),
        _ => {}
    }
    Ok(Some(row))
}

fn kind(event: &QuotaEvent) -> Option<TransactionKind> {
    match event {
        QuotaEvent::AccountOpened { .. }
        | QuotaEvent::TierChanged { .. }
        | QuotaEvent::LimitsOverridden { .. } => Some(TransactionKind::Grant),
        QuotaEvent::QuotaConsumed { .. } => Some(TransactionKind::Consumption),
        QuotaEvent::QuotaRecharged { .. } => Some(TransactionKind::Recharge),
        QuotaEvent::AdjustmentPosted { .. } => Some(TransactionKind::Adjustment),
        QuotaEvent::QuotaReset { .. } => Some(TransactionKind::Reset),
        QuotaEvent::QuotaReserved { .. }
        | QuotaEvent::ReservationReleased { .. }
        | QuotaEvent::ReservationExpired { .. }
        | QuotaEvent::ThresholdCrossed { .. }
        | QuotaEvent::QuotaSuspended { .. }
        | QuotaEvent::QuotaActivated { .. } => None,
    }
}

/// What all lines have.
fn posted(
    fact: &AccountFact<'_>,
    kind: TransactionKind,
    posting: &Posting,
) -> Result<TransactionRow, FoldError> {
    let (reason, by_user) = reason(fact.event).unzip();
    Ok(TransactionRow {
        transaction_id: fact.event_id,
        account_id: fact.account_id,
        tenant_id: tenant(fact.tenant_id)?,
        position: fact.position,
        kind,
        entry_id: entry_id(fact.event),
        turn_id: None,
        service: None,
        model: None,
        usage: None,
        price: None,
        priced_at: None,
        tokens: posting.change.tokens,
        credits: posting.change.credits,
        balance_tokens: posting.balance.tokens,
        balance_credits: posting.balance.credits,
        estimated: false,
        late: false,
        overdrawn_tokens: 0,
        reprices: None,
        reason,
        by_user,
        at: fact.event.at(),
    })
}

fn entry_id(event: &QuotaEvent) -> Option<Uuid> {
    match event {
        QuotaEvent::QuotaConsumed { entry_id, .. }
        | QuotaEvent::QuotaRecharged { entry_id, .. }
        | QuotaEvent::AdjustmentPosted { entry_id, .. } => Some(*entry_id),
        _ => None,
    }
}

/// Why, and who.
fn reason(event: &QuotaEvent) -> Option<(String, UserId)> {
    match event {
        QuotaEvent::TierChanged { reason, by, .. }
        | QuotaEvent::LimitsOverridden { reason, by, .. }
        | QuotaEvent::QuotaRecharged { reason, by, .. }
        | QuotaEvent::QuotaReset { reason, by, .. }
        | QuotaEvent::AdjustmentPosted { reason, by, .. } => Some((storable(reason), by.clone())),
        _ => None,
    }
}

impl TransactionRow {
    fn consumed(&mut self, event: &QuotaEvent) {
        let QuotaEvent::QuotaConsumed {
            turn_id,
            service,
            model,
            usage,
            price,
            priced_at,
            overdrawn,
            late,
            ..
        } = event
        else {
            return;
        };
        self.turn_id = *turn_id;
        self.service = Some(storable(service));
        self.model = Some(storable(model));
        self.usage = Some(*usage);
        self.price = *price;
        self.priced_at = Some(*priced_at);
        self.estimated = usage.estimated;
        self.late = *late;
        self.overdrawn_tokens = i64::try_from(overdrawn.tokens).unwrap_or(i64::MAX);
    }

    fn corrects(&mut self, repriced: &Repriced) {
        self.service = Some(storable(&repriced.service));
        self.model = Some(storable(&repriced.model));
        self.price = repriced.price;
        self.reprices = Some(repriced.entry_id);
    }
}
