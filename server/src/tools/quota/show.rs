//! What is printed of accounts and their ledgers.

use std::time::Duration;

use domain::quota::{AccountStatus, AccountView, LimitView, Quantity};
use domain::{AccountId, Causes, TenantId};
use projections::{
    AccountRow, Positions, ReadModel, TransactionFilter, TransactionRow, list_accounts,
    list_transactions,
};
use serde::Serialize;
use serde_json::json;

use super::{Owner, QuotaError, Tool};
use crate::cli::quota::TransactionsArgs;
use crate::output::{complain, say, table};

/// How long lists wait for the read models.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rows read at once.
const PAGE: u32 = 500;
/// Not there.
const NONE: &str = "-";

/// One account, as the log has it now.
pub(super) async fn account(tool: &Tool, owner: Owner, json: bool) -> Result<(), QuotaError> {
    let account = tool.bus.account(&owner).await?;
    if !account.is_open() {
        return Err(QuotaError::NoAccount(owner.0, owner.1));
    }
    let view = account.view(tool.bus.clock().now());
    if json {
        say(&serde_json::to_string_pretty(&with_owner(&owner, &view)?)?);
        return Ok(());
    }
    say(&format!("account  {}/{}", owner.0, owner.1));
    say(&format!("tier     {}", view.tier));
    match &view.suspended_for {
        Some(reason) => say(&format!("status   suspended: {reason}")),
        None => say(&format!("status   {}", status(view.status))),
    }
    let balance = view.balance;
    say(&format!("balance  {} credits, {} tokens", balance.credits, balance.tokens));
    say(&format!("holds    {}\n", account.holds.len()));
    let rows: Vec<Vec<String>> = view.limits.iter().map(limit).collect();
    table(&["LIMIT", "OF", "USED", "HELD", "LEFT", "RENEWS", "LEVEL"], &rows);
    Ok(())
}

fn limit(limit: &LimitView) -> Vec<String> {
    let quantity =
        |amount: Option<Quantity>| amount.map_or(NONE.to_owned(), |amount| amount.to_string());
    let renews = limit.renews_at.map(|at| at.format("%F %T").to_string());
    vec![
        limit.kind.to_string(),
        limit.limit.map_or("unlimited".to_owned(), |limit| limit.to_string()),
        limit.used.to_string(),
        limit.reserved.to_string(),
        quantity(limit.remaining),
        renews.unwrap_or_else(|| NONE.to_owned()),
        limit.level.map_or(NONE, domain::quota::Level::as_str).to_owned(),
    ]
}

/// All accounts of a tenant.
pub(super) async fn accounts(tool: &Tool, tenant: &TenantId, json: bool) -> Result<(), QuotaError> {
    wait_for(tool, ReadModel::Accounts).await?;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = list_accounts(tool.store.pool(), tenant, after.as_ref(), PAGE).await?;
        for row in &page.items {
            let view = row.state.view(tool.bus.clock().now());
            if json {
                let owner = (row.tenant_id.clone(), row.user_id.clone());
                say(&with_owner(&owner, &view)?.to_string());
            } else {
                rows.push(account_line(row, &view));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !json {
        let heading = [
            "USER",
            "TIER",
            "STATUS",
            "TOKENS TODAY",
            "THIS MONTH",
            "TOKENS",
            "CREDITS",
            "CHANGED",
        ];
        table(&heading, &rows);
    }
    Ok(())
}

fn account_line(row: &AccountRow, view: &AccountView) -> Vec<String> {
    let used = |kind| {
        let limit = view.limits.iter().find(|limit| limit.kind == kind);
        limit.map_or(NONE.to_owned(), |limit| limit.used.to_string())
    };
    vec![
        row.user_id.to_string(),
        view.tier.clone(),
        status(view.status).to_owned(),
        used(domain::quota::LimitKind::TokensPerDay),
        used(domain::quota::LimitKind::TokensPerMonth),
        view.balance.tokens.to_string(),
        view.balance.credits.to_string(),
        row.updated_at.format("%F %T").to_string(),
    ]
}

/// Lines of an account's ledger.
pub(super) async fn transactions(tool: &Tool, args: TransactionsArgs) -> Result<(), QuotaError> {
    wait_for(tool, ReadModel::Transactions).await?;
    let account_id = AccountId::of(&args.account.tenant, &args.account.user);
    let filter = TransactionFilter {
        kind: args.kind.map(Into::into),
        from: args.from,
        to: args.to,
        newest_first: true,
        ..TransactionFilter::default()
    };
    let (mut rows, mut after, mut wanted) = (Vec::new(), None, args.limit);
    while wanted > 0 {
        let page =
            list_transactions(tool.store.pool(), account_id, &filter, after, wanted.min(PAGE))
                .await?;
        wanted = wanted.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        for row in &page.items {
            if args.json {
                say(&serde_json::to_string(row)?);
            } else {
                rows.push(transaction_line(row));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !args.json {
        let heading = ["AT", "KIND", "TOKENS", "CREDITS", "BALANCE", "CREDITS", "MODEL", "WHAT"];
        table(&heading, &rows);
    }
    Ok(())
}

fn transaction_line(row: &TransactionRow) -> Vec<String> {
    let what = match (&row.reason, row.turn_id, row.entry_id) {
        (Some(reason), ..) => {
            let by = row.by_user.as_ref().map_or(String::new(), |by| format!(" ({by})"));
            format!("{reason}{by}")
        }
        (None, Some(turn), _) => format!("turn {turn}"),
        (None, None, Some(entry)) => format!("entry {entry}"),
        (None, None, None) => NONE.to_owned(),
    };
    vec![
        row.at.format("%F %T").to_string(),
        row.kind.as_str().to_owned(),
        row.tokens.to_string(),
        row.credits.to_string(),
        row.balance_tokens.to_string(),
        row.balance_credits.to_string(),
        row.model.clone().unwrap_or_else(|| NONE.to_owned()),
        what,
    ]
}

/// Lists tell of the newest changes if they can, and say so if they can't.
async fn wait_for(tool: &Tool, model: ReadModel) -> Result<(), QuotaError> {
    let head = tool.store.head().await?;
    let positions = Positions::new(tool.store.pool().clone());
    if let Err(error) = positions.wait_for(&[model], head, PATIENCE).await {
        complain(&format!("warning: the newest changes may be missing: {}", Causes(&error)));
    }
    Ok(())
}

fn with_owner(owner: &Owner, view: &impl Serialize) -> Result<serde_json::Value, QuotaError> {
    let mut account = json!({
        "account_id": AccountId::of(&owner.0, &owner.1),
        "tenant_id": owner.0,
        "user_id": owner.1,
    });
    if let (Some(account), serde_json::Value::Object(view)) =
        (account.as_object_mut(), serde_json::to_value(view)?)
    {
        account.extend(view);
    }
    Ok(account)
}

fn status(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Active => "active",
        AccountStatus::Exhausted => "exhausted",
        AccountStatus::Suspended => "suspended",
    }
}
