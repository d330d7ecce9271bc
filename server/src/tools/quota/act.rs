//! Changing one account.

use commands::AccountExecuted;
use domain::quota::{LimitKind, LimitsPatch, QuotaCommand, Sum};
use domain::{CommandId, UserId};
use serde_json::{Map, Value};

use super::{Owner, QuotaError, Tool, caller};
use crate::cli::quota::{AccountArgs, Quota};
use crate::output::say;

/// A command, whose account it is for, and who gives it.
struct Act {
    owner: Owner,
    command: QuotaCommand,
    by: UserId,
    command_id: Option<CommandId>,
}

pub(super) async fn run(tool: &Tool, command: Quota) -> Result<(), QuotaError> {
    let Some(act) = act(tool, command)? else { return Ok(()) };
    let caller = caller(act.owner.0.clone(), act.by, act.command_id);
    let name = act.command.name();
    let executed = tool.bus.execute_quota(&act.owner, vec![act.command], &caller).await?;
    report(&act.owner, name, &executed);
    Ok(())
}

fn act(tool: &Tool, command: Quota) -> Result<Option<Act>, QuotaError> {
    let entry_id = tool.bus.ids().next();
    let (account, by, command_id, command) = match command {
        Quota::Open { account, tier, by } => {
            (account, by.by, None, QuotaCommand::OpenAccount { tier })
        }
        Quota::Recharge { account, credits, tokens, reason, command_id, by } => {
            let (tokens, credits) = (tokens.unwrap_or_default(), credits.unwrap_or_default());
            let command = QuotaCommand::RechargeQuota { entry_id, tokens, credits, reason };
            (account, by.by, command_id, command)
        }
        Quota::Adjust { account, credits, tokens, reason, command_id, by } => {
            let (tokens, credits) = (tokens.unwrap_or_default(), credits.unwrap_or_default());
            let change = Sum { tokens, credits };
            let command = QuotaCommand::PostAdjustment { entry_id, change, reprices: None, reason };
            (account, by.by, command_id, command)
        }
        Quota::Tier { account, tier, why } => {
            (account, why.by.by, None, QuotaCommand::ChangeTier { tier, reason: why.reason })
        }
        Quota::Limits { account, set, unset, why } => {
            let limits = patch(&set, &unset)?;
            let command = QuotaCommand::OverrideLimits { limits, reason: why.reason };
            (account, why.by.by, None, command)
        }
        Quota::Suspend { account, reason, by } => {
            (account, by.by, None, QuotaCommand::SuspendQuota { reason })
        }
        Quota::Activate { account, why } => {
            (account, why.by.by, None, QuotaCommand::ActivateQuota { reason: why.reason })
        }
        Quota::Reset { account, scope, why } => {
            let command = QuotaCommand::ResetQuota { scope: scope.into(), reason: why.reason };
            (account, why.by.by, None, command)
        }
        // These change nothing, or many accounts.
        Quota::Show { .. }
        | Quota::Accounts { .. }
        | Quota::Transactions(_)
        | Quota::Reprice(_) => {
            return Ok(None);
        }
    };
    let AccountArgs { tenant, user } = account;
    Ok(Some(Act { owner: (tenant, user), command, by, command_id }))
}

/// The limits that change: set, or back to the tier's.
fn patch(set: &[String], unset: &[String]) -> Result<LimitsPatch, QuotaError> {
    let mut patch = LimitsPatch::default();
    for text in set {
        let Some((limit, amount)) = text.split_once('=') else {
            return Err(problem("set", text, "must be as tokens_per_day=5000".to_owned()));
        };
        let number = amount.trim().parse::<u64>().map(Value::from);
        let amount = number.unwrap_or_else(|_| Value::from(amount.trim()));
        take(&mut patch, "set", text, limit, amount)?;
    }
    for text in unset {
        take(&mut patch, "unset", text, text, Value::Null)?;
    }
    Ok(patch)
}

/// Adds one limit to `patch`, by its name.
fn take(
    patch: &mut LimitsPatch,
    option: &'static str,
    text: &str,
    limit: &str,
    amount: Value,
) -> Result<(), QuotaError> {
    let limit = limit.trim();
    let names = LimitKind::ALL.map(LimitKind::as_str);
    if !names.contains(&limit) {
        let known = names.join(", ");
        return Err(problem(option, text, format!("there is no such limit; there are {known}")));
    }
    let one = Map::from_iter([(limit.to_owned(), amount)]);
    let one: LimitsPatch = serde_json::from_value(Value::Object(one))
        .map_err(|error| problem(option, text, error.to_string()))?;
    *patch = LimitsPatch {
        requests_per_minute: one.requests_per_minute.or(patch.requests_per_minute),
        tokens_per_day: one.tokens_per_day.or(patch.tokens_per_day),
        tokens_per_month: one.tokens_per_month.or(patch.tokens_per_month),
        tokens_total: one.tokens_total.or(patch.tokens_total),
        credits_per_day: one.credits_per_day.or(patch.credits_per_day),
        credits_per_month: one.credits_per_month.or(patch.credits_per_month),
        credit_balance: one.credit_balance.or(patch.credit_balance),
    };
    Ok(())
}

fn problem(option: &'static str, text: &str, problem: String) -> QuotaError {
    QuotaError::Option { option, text: text.to_owned(), problem }
}

fn report(owner: &Owner, name: &str, executed: &AccountExecuted) {
    let account = format!("{}/{}", owner.0, owner.1);
    if executed.repeated {
        say(&format!("{account}: {name} was carried out before; nothing was changed now"));
        return;
    }
    let Some(position) = executed.position else {
        say(&format!("{account}: nothing to change"));
        return;
    };
    say(&format!("{account}: {name} is done, at position {position}"));
    let Some(billed) = &executed.billed else { return };
    let (view, balance) = (&billed.account, billed.account.balance);
    let (credits, tokens) = (balance.credits, balance.tokens);
    say(&format!("tier {}; balance {credits} credits, {tokens} tokens", view.tier));
    for crossed in billed.crossed() {
        let (limit, left, of) = (crossed.limit, crossed.left, crossed.of);
        say(&format!("{limit} is at level {}: {left} of {of} left", crossed.level.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_and_unset_by_their_names() {
        let text = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let set = text(&["tokens_per_day=5000", "credit_balance = 1.50"]);
        let patch = patch(&set, &text(&["requests_per_minute"])).unwrap();
        assert_eq!(patch.tokens_per_day, Some(Some(5000)));
        assert_eq!(patch.credit_balance, Some(Some("1.5".parse().unwrap())));
        assert_eq!((patch.requests_per_minute, patch.tokens_total), (Some(None), None));
        for bad in ["tokens_per_day", "tokens=5", "tokens_per_day=-1", "credits_per_day=much"] {
            let error = super::patch(&text(&[bad]), &[]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--set {bad}: ")), "{error}");
        }
        assert!(super::patch(&[], &text(&["tokens"])).is_err());
    }
}
