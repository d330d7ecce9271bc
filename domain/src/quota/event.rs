//! What can have happened to an account. These shapes are in the log for ever: fields are only
//! added (with a default), never renamed or removed.

use chrono::{DateTime, NaiveDate, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::completion::Usage;
use crate::ids::{ReservationId, TenantId, TurnId, UserId};
use crate::prices::Price;
use crate::quota::amount::{Amount, Quantity, Sum};
use crate::quota::limits::{LimitKind, LimitOverrides, Limits};

/// A line of the ledger: what an event adds to the account's balance, and what that comes to.
/// The balance is the sum of all lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Posting {
    /// Positive in the account's favour.
    pub change: Sum,
    /// The balance after it.
    pub balance: Sum,
}

/// How little is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A fifth or less.
    Warning,
    /// A tenth or less.
    Critical,
    /// Nothing.
    Exhausted,
}

impl Level {
    /// All of them, from much left to nothing.
    pub const ALL: [Self; 3] = [Self::Warning, Self::Critical, Self::Exhausted];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Exhausted => "exhausted",
        }
    }
}

/// A limit of which little is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// Which one.
    pub limit: LimitKind,
    /// How little.
    pub level: Level,
    /// The first day of the window; none for a limit that doesn't renew.
    pub window: Option<NaiveDate>,
    /// What is left.
    pub left: Quantity,
    /// Of how much.
    pub of: Quantity,
}

/// What is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetScope {
    /// What was used today.
    Day,
    /// What was used this month.
    Month,
    /// The balance, to what the account is granted.
    Balance,
    /// All of these, and the last minute's requests.
    All,
}

/// The entry that an adjustment corrects, because its price was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repriced {
    /// The entry of the consumption.
    pub entry_id: Uuid,
    /// Its service.
    pub service: String,
    /// Its model.
    pub model: String,
    /// When it was consumed: the day and the month that it counts for.
    pub consumed_at: DateTime<Utc>,
    /// The right price; none if it is free.
    pub price: Option<Price>,
}

/// An event of an account. `at` is the command's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields say what they are; each variant is documented")]
pub enum QuotaEvent {
    /// The account exists, with its tier's limits.
    AccountOpened {
        tenant_id: TenantId,
        user_id: UserId,
        tier: String,
        limits: Limits,
        posting: Posting,
        at: DateTime<Utc>,
    },
    /// It has another tier, or its tier's limits of today.
    TierChanged {
        tier: String,
        limits: Limits,
        posting: Posting,
        reason: String,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// It has limits of its own; these replace all earlier ones.
    LimitsOverridden {
        overrides: LimitOverrides,
        posting: Posting,
        reason: String,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// So much is held for a turn, or more than before (`extends`).
    QuotaReserved {
        reservation_id: ReservationId,
        service: String,
        model: String,
        /// What is held, or added to it.
        amount: Amount,
        /// How many of these tokens are for the answer.
        #[serde(default)]
        answer_tokens: u32,
        /// The price that the settlement will use; none if it is free.
        price: Option<Price>,
        expires_at: DateTime<Utc>,
        extends: bool,
        at: DateTime<Utc>,
    },
    /// So much was used; a hold for it ends.
    QuotaConsumed {
        /// The ledger's entry: the turn's id, or the one that the caller gave.
        entry_id: Uuid,
        /// The hold that it settles; none for consumption without one.
        reservation_id: Option<ReservationId>,
        turn_id: Option<TurnId>,
        service: String,
        model: String,
        /// What was used, as it was counted.
        usage: Usage,
        price: Option<Price>,
        /// When the price was asked for: with the hold, if there was one.
        priced_at: DateTime<Utc>,
        amount: Amount,
        /// What was used beyond the hold.
        overdrawn: Amount,
        /// Whether the hold had expired.
        late: bool,
        posting: Posting,
        at: DateTime<Utc>,
    },
    /// A hold ended, and nothing was used.
    ReservationReleased { reservation_id: ReservationId, reason: String, at: DateTime<Utc> },
    /// A hold ended by itself; what its turn used is still to be settled.
    ReservationExpired { reservation_id: ReservationId, at: DateTime<Utc> },
    /// Little is left of a limit.
    ThresholdCrossed { threshold: Threshold, turn_id: Option<TurnId>, at: DateTime<Utc> },
    /// Somebody paid.
    QuotaRecharged {
        entry_id: Uuid,
        posting: Posting,
        reason: String,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// No more turns until it is activated.
    QuotaSuspended { reason: String, by: UserId, at: DateTime<Utc> },
    /// Turns again.
    QuotaActivated { reason: String, by: UserId, at: DateTime<Utc> },
    /// What was used is forgotten.
    QuotaReset {
        scope: ResetScope,
        posting: Posting,
        reason: String,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// A correction.
    AdjustmentPosted {
        entry_id: Uuid,
        posting: Posting,
        reprices: Option<Repriced>,
        reason: String,
        by: UserId,
        at: DateTime<Utc>,
    },
}

impl QuotaEvent {
    /// The variant's name, as stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AccountOpened { .. } => "AccountOpened",
            Self::TierChanged { .. } => "TierChanged",
            Self::LimitsOverridden { .. } => "LimitsOverridden",
            Self::QuotaReserved { .. } => "QuotaReserved",
            Self::QuotaConsumed { .. } => "QuotaConsumed",
            Self::ReservationReleased { .. } => "ReservationReleased",
            Self::ReservationExpired { .. } => "ReservationExpired",
            Self::ThresholdCrossed { .. } => "ThresholdCrossed",
            Self::QuotaRecharged { .. } => "QuotaRecharged",
            Self::QuotaSuspended { .. } => "QuotaSuspended",
            Self::QuotaActivated { .. } => "QuotaActivated",
            Self::QuotaReset { .. } => "QuotaReset",
            Self::AdjustmentPosted { .. } => "AdjustmentPosted",
        }
    }

    /// When it happened.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::AccountOpened { at, .. }
            | Self::TierChanged { at, .. }
            | Self::LimitsOverridden { at, .. }
            | Self::QuotaReserved { at, .. }
            | Self::QuotaConsumed { at, .. }
            | Self::ReservationReleased { at, .. }
            | Self::ReservationExpired { at, .. }
            | Self::ThresholdCrossed { at, .. }
            | Self::QuotaRecharged { at, .. }
            | Self::QuotaSuspended { at, .. }
            | Self::QuotaActivated { at, .. }
            | Self::QuotaReset { at, .. }
            | Self::AdjustmentPosted { at, .. } => *at,
        }
    }

    /// What it adds to the ledger, if anything.
    pub fn posting(&self) -> Option<&Posting> {
        match self {
            Self::AccountOpened { posting, .. }
            | Self::TierChanged { posting, .. }
            | Self::LimitsOverridden { posting, .. }
            | Self::QuotaConsumed { posting, .. }
            | Self::QuotaRecharged { posting, .. }
            | Self::QuotaReset { posting, .. }
            | Self::AdjustmentPosted { posting, .. } => Some(posting),
            _ => None,
        }
    }
}

impl DomainEvent for QuotaEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}
