//! The rules of an account: what a command makes happen, or why it is refused.
//!
//! Pure: the same state, command and context always give the same events. The rules of use
//! stand in `decide_usage`, those of administration in `decide_admin`.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ids::{TenantId, UserId};
use crate::prices::PriceBook;
use crate::quota::amount::Sum;
use crate::quota::command::QuotaCommand;
use crate::quota::decide_admin as admin;
use crate::quota::decide_usage as usage;
use crate::quota::event::{Posting, QuotaEvent};
use crate::quota::limits::{Limits, QuotaPolicy};
use crate::quota::rejection::QuotaRejection;
use crate::quota::state::Account;
use crate::{Actor, ActorRole};

/// What surrounds a command: the caller, the time, the account's owner, rules and prices.
#[derive(Debug, Clone)]
pub struct QuotaContext {
    /// The command's time.
    pub now: DateTime<Utc>,
    /// Who asks.
    pub actor: Actor,
    /// Whose account it is.
    pub owner: (TenantId, UserId),
    /// The tier that the owner's token names.
    pub named_tier: Option<String>,
    /// The deployment's rules.
    pub policy: Arc<QuotaPolicy>,
    /// The prices.
    pub prices: Arc<PriceBook>,
}

impl QuotaContext {
    /// The command's time, or that of the account's last event if a faster clock made it: the
    /// ledger never goes back in time.
    pub(super) fn at(&self, account: &Account) -> DateTime<Utc> {
        account.updated_at.map_or(self.now, |last| self.now.max(last))
    }

    pub(super) fn by(&self) -> UserId {
        self.actor.user_id.clone()
    }
}

/// Decides `command` on `account`. Its first use opens it.
pub fn decide(
    account: &Account,
    command: &QuotaCommand,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    authorize(command, context)?;
    if let QuotaCommand::OpenAccount { tier } = command {
        if account.is_open() {
            return Err(QuotaRejection::AccountExists);
        }
        return Ok(vec![open(tier.as_deref(), context)?]);
    }
    if account.is_open() {
        return decide_open(account, command, context);
    }
    match command {
        QuotaCommand::ReserveQuota(_) | QuotaCommand::ConsumeQuota(_) => {}
        // A turn from before there were accounts held nothing, and must be able to end.
        QuotaCommand::ReleaseReservation { .. } => return Ok(Vec::new()),
        _ => return Err(QuotaRejection::AccountNotFound),
    }
    let opened = open(None, context)?;
    let account = Account::fold([&opened]);
    let used = decide_open(&account, command, context)?;
    Ok(if used.is_empty() { used } else { [vec![opened], used].concat() })
}

fn decide_open(
    account: &Account,
    command: &QuotaCommand,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    match command {
        QuotaCommand::OpenAccount { .. } => Err(QuotaRejection::AccountExists),
        QuotaCommand::ReserveQuota(reserve) => usage::reserve(account, reserve, context),
        QuotaCommand::ConsumeQuota(consume) => usage::consume(account, consume, context),
        QuotaCommand::ReleaseReservation { reservation_id, reason } => {
            usage::release(account, *reservation_id, reason, context)
        }
        QuotaCommand::ExpireReservation { reservation_id } => {
            usage::expire(account, *reservation_id, context)
        }
        command => admin::decide(account, command, context),
    }
}

/// Money and rules are for admins, and nobody touches another tenant's account.
fn authorize(command: &QuotaCommand, context: &QuotaContext) -> Result<(), QuotaRejection> {
    let (tenant_id, user_id) = &context.owner;
    if !context.actor.may_see(tenant_id, user_id) {
        return Err(QuotaRejection::AccountNotFound);
    }
    let for_users = matches!(
        command,
        QuotaCommand::ReserveQuota(_)
            | QuotaCommand::ConsumeQuota(_)
            | QuotaCommand::ReleaseReservation { .. }
    );
    if for_users || context.actor.role != ActorRole::User {
        return Ok(());
    }
    Err(QuotaRejection::AdminOnly)
}

fn open(tier: Option<&str>, context: &QuotaContext) -> Result<QuotaEvent, QuotaRejection> {
    let (tenant_id, user_id) = context.owner.clone();
    let named = context.named_tier.as_deref();
    let tier = tier.unwrap_or_else(|| context.policy.tier_for(&tenant_id, named));
    let limits = limits_of(tier, &context.policy)?;
    let posting = posting(Sum::default(), granted(&limits));
    let (tier, at) = (tier.to_owned(), context.now);
    Ok(QuotaEvent::AccountOpened { tenant_id, user_id, tier, limits, posting, at })
}

/// The limits of the tier called `tier`.
pub(super) fn limits_of(tier: &str, policy: &QuotaPolicy) -> Result<Limits, QuotaRejection> {
    policy.tiers.get(tier).cloned().ok_or_else(|| {
        let names: Vec<&str> = policy.tiers.keys().map(String::as_str).collect();
        QuotaRejection::UnknownTier(tier.to_owned(), names.join(", "))
    })
}

/// What limits grant once and for all.
pub(super) fn granted(limits: &Limits) -> Sum {
    Sum {
        tokens: i64::try_from(limits.tokens_total).unwrap_or(i64::MAX),
        credits: limits.credit_balance,
    }
}

/// A ledger's line that adds `change` to `balance`.
pub(super) fn posting(balance: Sum, change: Sum) -> Posting {
    Posting { change, balance: balance.plus(change) }
}
