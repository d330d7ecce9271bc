//! Administering an account: tier, limits, money, suspension, corrections.

use crate::credits::Credits;
use crate::quota::amount::Sum;
use crate::quota::command::QuotaCommand;
use crate::quota::decide::{QuotaContext, granted, limits_of, posting};
use crate::quota::event::{Posting, QuotaEvent, Repriced, ResetScope};
use crate::quota::limits::{Limits, LimitsPatch, MOST_TOKENS, most_credits};
use crate::quota::meters::Meters;
use crate::quota::rejection::QuotaRejection;
use crate::quota::state::Account;

/// Characters of a reason.
const MAX_REASON: usize = 500;

/// Decides an administrator's command on an open account.
pub(super) fn decide(
    account: &Account,
    command: &QuotaCommand,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let (by, at) = (context.by(), context.at(account));
    match command {
        QuotaCommand::ChangeTier { tier, reason } => change_tier(account, tier, reason, context),
        QuotaCommand::OverrideLimits { limits, reason } => {
            override_limits(account, limits, reason, context)
        }
        QuotaCommand::RechargeQuota { entry_id, tokens, credits, reason } => {
            let (reason, entry_id) = (needed_reason(reason)?, *entry_id);
            let posting = recharge(account, *tokens, *credits)?;
            Ok(vec![QuotaEvent::QuotaRecharged { entry_id, posting, reason, by, at }])
        }
        QuotaCommand::SuspendQuota { reason } if account.suspended.is_none() => {
            let reason = needed_reason(reason)?;
            Ok(vec![QuotaEvent::QuotaSuspended { reason, by, at }])
        }
        QuotaCommand::ActivateQuota { reason } if account.suspended.is_some() => {
            let reason = checked(reason)?;
            Ok(vec![QuotaEvent::QuotaActivated { reason, by, at }])
        }
        QuotaCommand::ResetQuota { scope, reason } => {
            let (scope, reason) = (*scope, checked(reason)?);
            let posting = reset(account, scope);
            Ok(vec![QuotaEvent::QuotaReset { scope, posting, reason, by, at }])
        }
        QuotaCommand::PostAdjustment { entry_id, change, reprices, reason } => {
            let reason = needed_reason(reason)?;
            let posting = adjust(account, *change, reprices.as_ref())?;
            let (entry_id, reprices) = (*entry_id, reprices.clone());
            let adjusted =
                QuotaEvent::AdjustmentPosted { entry_id, posting, reprices, reason, by, at };
            Ok(with_crossings(account, adjusted, context))
        }
        // Suspending what is suspended changes nothing, nor does activating what is active.
        _ => Ok(Vec::new()),
    }
}

fn change_tier(
    account: &Account,
    tier: &str,
    reason: &str,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let limits = limits_of(tier, &context.policy)?;
    if account.tier == tier && account.tier_limits == limits {
        return Ok(Vec::new());
    }
    let posting = regranted(account, &limits.overridden(&account.overrides));
    let changed = QuotaEvent::TierChanged {
        tier: tier.to_owned(),
        limits,
        posting,
        reason: checked(reason)?,
        by: context.by(),
        at: context.at(account),
    };
    Ok(with_crossings(account, changed, context))
}

fn override_limits(
    account: &Account,
    patch: &LimitsPatch,
    reason: &str,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let overrides = account.overrides.patched(patch);
    if overrides == account.overrides {
        return Ok(Vec::new());
    }
    let limits = account.tier_limits.overridden(&overrides);
    if let Some((limit, problem)) = limits.problem() {
        return Err(QuotaRejection::Invalid { field: limit.as_str(), problem });
    }
    let changed = QuotaEvent::LimitsOverridden {
        posting: regranted(account, &limits),
        overrides,
        reason: checked(reason)?,
        by: context.by(),
        at: context.at(account),
    };
    Ok(with_crossings(account, changed, context))
}

/// Other limits grant another amount: the difference is posted.
fn regranted(account: &Account, limits: &Limits) -> Posting {
    let change = granted(limits).minus(granted(&account.limits()));
    posting(account.balance, change)
}

fn recharge(account: &Account, tokens: u64, credits: Credits) -> Result<Posting, QuotaRejection> {
    if credits.is_negative() || credits > most_credits() {
        return invalid("credits", "must be from 0 to 1000000000000");
    }
    if tokens > MOST_TOKENS {
        return invalid("tokens", "must be at most 1000000000000");
    }
    if tokens == 0 && credits.is_zero() {
        return invalid("credits", "or `tokens` must be more than 0");
    }
    let change = Sum { tokens: i64::try_from(tokens).unwrap_or(i64::MAX), credits };
    within_bounds(posting(account.balance, change))
}

fn adjust(
    account: &Account,
    change: Sum,
    reprices: Option<&Repriced>,
) -> Result<Posting, QuotaRejection> {
    if change.is_zero() {
        return invalid("credits", "or `tokens` must not be 0");
    }
    if reprices.is_some() && change.tokens != 0 {
        return invalid("tokens", "can't be repriced");
    }
    within_bounds(posting(account.balance, change))
}

/// No balance goes where sums would no longer be exact.
fn within_bounds(posting: Posting) -> Result<Posting, QuotaRejection> {
    let most = i64::try_from(MOST_TOKENS).unwrap_or(i64::MAX);
    let within = |credits: Credits| credits.max(credits.negated()) <= most_credits();
    if !within(posting.change.credits) || !within(posting.balance.credits) {
        return invalid("credits", "and the balance must stay within 1000000000000");
    }
    let far = |tokens: i64| tokens.unsigned_abs() > most.unsigned_abs();
    if far(posting.change.tokens) || far(posting.balance.tokens) {
        return invalid("tokens", "and the balance must stay within 1000000000000");
    }
    Ok(posting)
}

/// The balance goes back to what the limits grant.
fn reset(account: &Account, scope: ResetScope) -> Posting {
    let change = match scope {
        ResetScope::Balance | ResetScope::All => granted(&account.limits()).minus(account.balance),
        ResetScope::Day | ResetScope::Month => Sum::default(),
    };
    posting(account.balance, change)
}

/// The event, and what levels it brings the account to.
fn with_crossings(account: &Account, event: QuotaEvent, context: &QuotaContext) -> Vec<QuotaEvent> {
    let mut after = account.clone();
    after.apply(&event);
    let crossings = Meters::of(&after, context.at(account)).crossings(&after, None);
    [vec![event], crossings].concat()
}

fn needed_reason(reason: &str) -> Result<String, QuotaRejection> {
    if reason.trim().is_empty() {
        return invalid("reason", "must say why: it stays in the ledger");
    }
    checked(reason)
}

pub(super) fn checked(reason: &str) -> Result<String, QuotaRejection> {
    if reason.chars().count() > MAX_REASON {
        return invalid("reason", "must have at most 500 characters");
    }
    Ok(reason.to_owned())
}

/// A refusal of `field`.
pub(super) fn invalid<T>(field: &'static str, problem: &'static str) -> Result<T, QuotaRejection> {
    Err(QuotaRejection::Invalid { field, problem })
}
