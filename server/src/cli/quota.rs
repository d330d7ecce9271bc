//! `colloquy quota`: what can be asked about accounts, and what admins do to them.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use domain::quota::ResetScope;
use domain::{CommandId, Credits, TenantId, UserId};
use projections::TransactionKind;

/// `colloquy quota`
#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// Show an account: its tier, its limits and what is left of them.
    Show {
        #[command(flatten)]
        account: AccountArgs,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List a tenant's accounts.
    Accounts {
        /// The tenant.
        #[arg(long)]
        tenant: TenantId,
        /// As JSON, an account a line.
        #[arg(long)]
        json: bool,
    },
    /// List an account's ledger, newest line first.
    Transactions(TransactionsArgs),
    /// Open an account before its user's first use.
    Open {
        #[command(flatten)]
        account: AccountArgs,
        /// Its tier; the tenant's default one if none is named.
        #[arg(long)]
        tier: Option<String>,
        #[command(flatten)]
        by: By,
    },
    /// Add what was paid for.
    #[command(group = ArgGroup::new("amount").required(true).multiple(true))]
    Recharge {
        #[command(flatten)]
        account: AccountArgs,
        /// Money.
        #[arg(long, group = "amount")]
        credits: Option<Credits>,
        /// Tokens.
        #[arg(long, group = "amount")]
        tokens: Option<u64>,
        /// Why; stays in the ledger.
        #[arg(long)]
        reason: String,
        /// A repeat under the same id does nothing more.
        #[arg(long, value_name = "ID")]
        command_id: Option<CommandId>,
        #[command(flatten)]
        by: By,
    },
    /// Correct the balance, up or down.
    #[command(group = ArgGroup::new("amount").required(true).multiple(true))]
    Adjust {
        #[command(flatten)]
        account: AccountArgs,
        /// Money to add; negative to take away.
        #[arg(long, group = "amount", allow_negative_numbers = true)]
        credits: Option<Credits>,
        /// Tokens to add; negative to take away.
        #[arg(long, group = "amount", allow_negative_numbers = true)]
        tokens: Option<i64>,
        /// Why; stays in the ledger.
        #[arg(long)]
        reason: String,
        /// A repeat under the same id does nothing more.
        #[arg(long, value_name = "ID")]
        command_id: Option<CommandId>,
        #[command(flatten)]
        by: By,
    },
    /// Give an account another tier, or its tier's limits as the configuration has them now.
    Tier {
        #[command(flatten)]
        account: AccountArgs,
        /// The tier.
        #[arg(long)]
        tier: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give an account limits of its own, in place of its tier's.
    #[command(group = ArgGroup::new("change").required(true).multiple(true))]
    Limits {
        #[command(flatten)]
        account: AccountArgs,
        /// Such as `tokens_per_day=5000`; 0 is no limit.
        #[arg(long, value_name = "LIMIT=AMOUNT", group = "change")]
        set: Vec<String>,
        /// Back to the tier's, such as `tokens_per_day`.
        #[arg(long, value_name = "LIMIT", group = "change")]
        unset: Vec<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Refuse an account's turns from now on.
    Suspend {
        #[command(flatten)]
        account: AccountArgs,
        /// Why; its user is told.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        by: By,
    },
    /// Take the turns of a suspended account again.
    Activate {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        why: Why,
    },
    /// Forget what was used.
    Reset {
        #[command(flatten)]
        account: AccountArgs,
        /// What to forget.
        #[arg(long, value_enum)]
        scope: Scope,
        #[command(flatten)]
        why: Why,
    },
    /// Charge what was used at the prices that hold by now for when it was used, and post the
    /// differences.
    Reprice(RepriceArgs),
}

/// Whose account.
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    /// The account's tenant.
    #[arg(long)]
    pub(crate) tenant: TenantId,
    /// The account's user.
    #[arg(long)]
    pub(crate) user: UserId,
}

/// Who does it.
#[derive(Debug, Args)]
pub(crate) struct By {
    /// Who does it, as the log will name them.
    #[arg(long, value_name = "USER", default_value = "cli")]
    pub(crate) by: UserId,
}

/// Who does it, and why.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) by: By,
}

/// `colloquy quota transactions`
#[derive(Debug, Args)]
pub(crate) struct TransactionsArgs {
    #[command(flatten)]
    pub(crate) account: AccountArgs,
    /// Only lines of this kind.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Not before this day or moment (2026-11-01 or 2026-11-01T08:00:00Z, UTC).
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Before this day or moment.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) to: Option<DateTime<Utc>>,
    /// At most so many lines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// As JSON, a line each.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `colloquy quota reprice`
#[derive(Debug, Args)]
pub(crate) struct RepriceArgs {
    /// What was used from this day or moment on (2026-11-01 or 2026-11-01T08:00:00Z, UTC) …
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) from: DateTime<Utc>,
    /// … and before this one; now, if none is named.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) to: Option<DateTime<Utc>>,
    /// Only this tenant's accounts.
    #[arg(long)]
    pub(crate) tenant: Option<TenantId>,
    /// Only this user's account.
    #[arg(long, requires = "tenant")]
    pub(crate) user: Option<UserId>,
    /// Only this model.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Only this service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only tell what it would come to.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why; stays in the ledger.
    #[arg(long, default_value = "the price was corrected")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) by: By,
}

/// What a reset forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// What was used today.
    Day,
    /// What was used this month.
    Month,
    /// The balance: back to what the limits grant.
    Balance,
    /// All of these, and the last minute's requests.
    All,
}

impl From<Scope> for ResetScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Day => Self::Day,
            Scope::Month => Self::Month,
            Scope::Balance => Self::Balance,
            Scope::All => Self::All,
        }
    }
}

/// A kind of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// What limits grant.
    Grant,
    /// What was used.
    Consumption,
    /// What was paid.
    Recharge,
    /// What was corrected.
    Adjustment,
    /// What was set back.
    Reset,
}

impl From<Kind> for TransactionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Grant => Self::Grant,
            Kind::Consumption => Self::Consumption,
            Kind::Recharge => Self::Recharge,
            Kind::Adjustment => Self::Adjustment,
            Kind::Reset => Self::Reset,
        }
    }
}

/// A moment, or the beginning of a day.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
    let moment = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    day().or_else(moment).ok_or_else(|| "must be as 2026-11-01 or 2026-11-01T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!(moment("2026-11-01"), moment("2026-11-01T01:00:00+01:00"));
        assert!(moment("yesterday").is_err() && moment("2026-11-01T08:00").is_err());
    }
}
