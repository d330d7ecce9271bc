//! What can be asked of an account. Ids are chosen by the caller, so that deciding again after
//! a conflict gives the same events.

use serde::Serialize;
use uuid::Uuid;

use crate::completion::Usage;
use crate::credits::Credits;
use crate::ids::{ReservationId, TurnId};
use crate::quota::amount::Sum;
use crate::quota::event::{Repriced, ResetScope};
use crate::quota::limits::LimitsPatch;

/// Holds room for a turn, or more of it for a turn that has a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReserveQuota {
    /// The hold.
    pub reservation_id: ReservationId,
    /// The service that will use it.
    pub service: String,
    /// The model that will.
    pub model: String,
    /// Tokens of the prompt, by an estimate.
    pub prompt_tokens: u32,
    /// Tokens of the answer at most.
    pub answer_tokens: u32,
    /// Whether it adds to a hold that stands.
    pub extends: bool,
}

/// Charges what was used, and ends the hold for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumeQuota {
    /// The ledger's entry; the same for a repeat.
    #[serde(skip)]
    pub entry_id: Uuid,
    /// The hold; without one the limits are checked now.
    pub reservation_id: Option<ReservationId>,
    /// The turn that used it.
    pub turn_id: Option<TurnId>,
    /// The service that used it.
    pub service: String,
    /// The model that did.
    pub model: String,
    /// What was used.
    pub usage: Usage,
}

/// A command to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "command")]
#[expect(missing_docs, reason = "the fields are those of the events")]
pub enum QuotaCommand {
    /// Opens the account; without a tier, with the default one.
    OpenAccount { tier: Option<String> },
    /// Gives it another tier, or its tier's limits as they are today.
    ChangeTier { tier: String, reason: String },
    /// Changes the limits that differ from the tier's.
    OverrideLimits { limits: LimitsPatch, reason: String },
    /// See [`ReserveQuota`].
    ReserveQuota(ReserveQuota),
    /// See [`ConsumeQuota`].
    ConsumeQuota(ConsumeQuota),
    /// Ends a hold of which nothing was used.
    ReleaseReservation { reservation_id: ReservationId, reason: String },
    /// Ends a hold whose time is over.
    ExpireReservation { reservation_id: ReservationId },
    /// Adds what was paid for.
    RechargeQuota {
        #[serde(skip)]
        entry_id: Uuid,
        tokens: u64,
        credits: Credits,
        reason: String,
    },
    /// Refuses turns from now on.
    SuspendQuota { reason: String },
    /// Takes turns again.
    ActivateQuota { reason: String },
    /// Forgets what was used.
    ResetQuota { scope: ResetScope, reason: String },
    /// Corrects the balance.
    PostAdjustment {
        #[serde(skip)]
        entry_id: Uuid,
        change: Sum,
        reprices: Option<Repriced>,
        reason: String,
    },
}

impl QuotaCommand {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenAccount { .. } => "OpenAccount",
            Self::ChangeTier { .. } => "ChangeTier",
            Self::OverrideLimits { .. } => "OverrideLimits",
            Self::ReserveQuota(_) => "ReserveQuota",
            Self::ConsumeQuota(_) => "ConsumeQuota",
            Self::ReleaseReservation { .. } => "ReleaseReservation",
            Self::ExpireReservation { .. } => "ExpireReservation",
            Self::RechargeQuota { .. } => "RechargeQuota",
            Self::SuspendQuota { .. } => "SuspendQuota",
            Self::ActivateQuota { .. } => "ActivateQuota",
            Self::ResetQuota { .. } => "ResetQuota",
            Self::PostAdjustment { .. } => "PostAdjustment",
        }
    }
}
