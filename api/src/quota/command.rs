//! The commands to accounts, as requests say them: the same fields on the routes of their own
//! and on `POST /v1/commands`.

use domain::Usage;
use domain::quota::{ConsumeQuota, LimitKind, LimitsPatch, QuotaCommand, Sum};
use serde_json::Value;
use uuid::Uuid;

use super::amounts::Fields;
use crate::error::ApiError;

/// The commands by name. Holds are not for clients: they come and go with turns.
pub(crate) const COMMANDS: [&str; 9] = [
    "OpenAccount",
    "ChangeTier",
    "OverrideLimits",
    "ConsumeQuota",
    "RechargeQuota",
    "SuspendQuota",
    "ActivateQuota",
    "ResetQuota",
    "PostAdjustment",
];

/// The command that is called `name`, one of [`COMMANDS`], with its `fields`.
pub(crate) fn read(
    name: &str,
    mut fields: Fields,
    entry_id: Uuid,
) -> Result<QuotaCommand, ApiError> {
    let body = &mut fields;
    let command = match name {
        "OpenAccount" => QuotaCommand::OpenAccount { tier: body.text("tier")? },
        "ChangeTier" => {
            let tier = body.text("tier")?;
            QuotaCommand::ChangeTier { tier: body.needed("tier", tier)?, reason: reason(body)? }
        }
        "OverrideLimits" => {
            let reason = reason(body)?;
            QuotaCommand::OverrideLimits { limits: limits(body)?, reason }
        }
        "ConsumeQuota" => QuotaCommand::ConsumeQuota(consume(body, entry_id)?),
        "RechargeQuota" => QuotaCommand::RechargeQuota {
            entry_id,
            tokens: body.count("tokens")?.unwrap_or_default(),
            credits: body.credits("credits")?.unwrap_or_default(),
            reason: reason(body)?,
        },
        "SuspendQuota" => QuotaCommand::SuspendQuota { reason: reason(body)? },
        "ActivateQuota" => QuotaCommand::ActivateQuota { reason: reason(body)? },
        "ResetQuota" => {
            let scope = body
                .value("scope")
                .map_err(|_| body.invalid("scope", "must be `day`, `month`, `balance` or `all`"))?;
            QuotaCommand::ResetQuota { scope: body.needed("scope", scope)?, reason: reason(body)? }
        }
        "PostAdjustment" => {
            let tokens = body.signed_count("tokens")?.unwrap_or_default();
            let credits = body.credits("credits")?.unwrap_or_default();
            let (change, reprices, reason) = (Sum { tokens, credits }, None, reason(body)?);
            QuotaCommand::PostAdjustment { entry_id, change, reprices, reason }
        }
        other => {
            let detail = format!("there is no command {other:?} to an account");
            return Err(ApiError::bad_request("unknown_command", detail).with_field("command"));
        }
    };
    fields.finish()?;
    Ok(command)
}

/// The ledger's entry that `command` makes, if it makes one.
pub(crate) fn entry_id(command: &QuotaCommand) -> Option<Uuid> {
    match command {
        QuotaCommand::ConsumeQuota(ConsumeQuota { entry_id, .. })
        | QuotaCommand::RechargeQuota { entry_id, .. }
        | QuotaCommand::PostAdjustment { entry_id, .. } => Some(*entry_id),
        _ => None,
    }
}

/// Where it is needed, the account says so.
fn reason(body: &mut Fields) -> Result<String, ApiError> {
    Ok(body.text("reason")?.unwrap_or_default())
}

fn consume(body: &mut Fields, entry_id: Uuid) -> Result<ConsumeQuota, ApiError> {
    let (service, model) = (body.text("service")?, body.text("model")?);
    let usage = body.object("usage", "usage.")?;
    let mut usage = body.needed("usage", usage)?;
    let read = Usage {
        prompt_tokens: tokens(&mut usage, "prompt_tokens")?,
        completion_tokens: tokens(&mut usage, "completion_tokens")?,
        cached_tokens: tokens(&mut usage, "cached_tokens")?,
        reasoning_tokens: tokens(&mut usage, "reasoning_tokens")?,
        estimated: usage.value("estimated")?.unwrap_or_default(),
    };
    usage.finish()?;
    Ok(ConsumeQuota {
        entry_id,
        reservation_id: None,
        turn_id: None,
        service: body.needed("service", service)?,
        model: body.needed("model", model)?,
        usage: read,
    })
}

fn tokens(usage: &mut Fields, name: &str) -> Result<u32, ApiError> {
    let count = usage.count(name)?.unwrap_or_default();
    u32::try_from(count).map_err(|_| usage.invalid(name, "must be at most 4294967295"))
}

/// The limits that the body names; null takes the account's own limit away.
fn limits(body: &mut Fields) -> Result<LimitsPatch, ApiError> {
    let mut patch = LimitsPatch::default();
    for kind in LimitKind::ALL {
        let name = kind.as_str();
        let Some(value) = body.take_null(name) else { continue };
        let value = Some(value).filter(|value| !value.is_null());
        let count = |value: Option<Value>| {
            value.map(|value| body.as_count(name, value)).transpose().map(Some)
        };
        let credits = |value: Option<Value>| {
            value.map(|value| body.as_credits(name, value)).transpose().map(Some)
        };
        match kind {
            LimitKind::RequestsPerMinute => {
                let limit = value.map(|value| body.as_count(name, value)).transpose()?;
                let limit = limit.map(u32::try_from).transpose();
                let problem = "must be at most 10000";
                patch.requests_per_minute = Some(limit.map_err(|_| body.invalid(name, problem))?);
            }
            LimitKind::TokensPerDay => patch.tokens_per_day = count(value)?,
            LimitKind::TokensPerMonth => patch.tokens_per_month = count(value)?,
            LimitKind::TokensTotal => patch.tokens_total = count(value)?,
            LimitKind::CreditsPerDay => patch.credits_per_day = credits(value)?,
            LimitKind::CreditsPerMonth => patch.credits_per_month = credits(value)?,
            LimitKind::CreditBalance => patch.credit_balance = credits(value)?,
        }
    }
    // A field that is left over is a misspelt one, and named as such.
    if patch == LimitsPatch::default() && body.is_empty() {
        let names = LimitKind::ALL.map(LimitKind::as_str).join(", ");
        let detail = format!("no limit is named; there are {names}");
        return Err(ApiError::bad_request("invalid_body", detail));
    }
    Ok(patch)
}

#[cfg(test)]
mod tests;
