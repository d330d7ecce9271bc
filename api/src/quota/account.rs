//! An account as clients see it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::quota::{
    Account, AccountView, LimitOverrides, QuotaCommand, QuotaContext, QuotaRejection, decide,
};
use domain::{AccountId, Actor, TenantId, UserId};
use eventstore::Position;
use projections::AccountRow;
use serde::Serialize;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::position;
use crate::state::ApiState;

/// An account, and whose it is.
#[derive(Debug, Serialize)]
pub(crate) struct UserAccount {
    pub(crate) user_id: UserId,
    #[serde(flatten)]
    pub(crate) view: AccountView,
}

/// The same with what only reads tell.
#[derive(Debug, Serialize)]
pub(crate) struct AccountShown {
    #[serde(flatten)]
    account: UserAccount,
    /// Whether it was ever used; if not, this is what it would be.
    exists: bool,
    /// The limits that differ from the tier's.
    overrides: LimitOverrides,
    opened_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    /// Of the last change.
    position: Option<Position>,
}

impl AccountShown {
    pub(crate) fn new(row: AccountRow, now: DateTime<Utc>) -> Self {
        let view = row.state.view(now);
        Self {
            account: UserAccount { user_id: row.user_id, view },
            exists: true,
            overrides: row.state.overrides,
            opened_at: Some(row.opened_at),
            updated_at: Some(row.updated_at),
            position: Some(row.last_position),
        }
    }

    /// An account that no read model has yet; its position is known later.
    fn of_log(user_id: &UserId, account: &Account, now: DateTime<Utc>) -> Self {
        Self {
            account: UserAccount { user_id: user_id.clone(), view: account.view(now) },
            exists: account.is_open(),
            overrides: account.overrides.clone(),
            opened_at: account.opened_at,
            updated_at: account.updated_at,
            position: None,
        }
    }

    /// The account that the caller's first use would open.
    pub(crate) fn unopened(state: &ApiState, caller: &Authenticated) -> Result<Self, ApiError> {
        let actor = &caller.actor;
        let now = state.bus.clock().now();
        let context = QuotaContext {
            now,
            actor: Actor::system(actor.tenant_id.clone()),
            owner: (actor.tenant_id.clone(), actor.user_id.clone()),
            named_tier: caller.named_tier.clone(),
            policy: Arc::clone(state.bus.policy()),
            prices: Arc::default(),
        };
        let open = QuotaCommand::OpenAccount { tier: None };
        let account = Account::fold(&decide(&Account::default(), &open, &context)?);
        let unopened = Self::of_log(&actor.user_id, &account, now);
        Ok(Self { exists: false, opened_at: None, updated_at: None, ..unopened })
    }
}

/// The account of a user, if it was ever opened: also a moment ago on another node, for what no
/// read model has, the log is asked for.
pub(crate) async fn find(
    state: &ApiState,
    tenant_id: &TenantId,
    user_id: &UserId,
) -> Result<Option<AccountShown>, ApiError> {
    let now = state.bus.clock().now();
    let id = AccountId::of(tenant_id, user_id);
    if let Some(row) = projections::get_account(state.pool(), id).await? {
        return Ok(Some(AccountShown::new(row, now)));
    }
    let account = state.bus.account(&(tenant_id.clone(), user_id.clone())).await?;
    Ok(account.is_open().then(|| AccountShown::of_log(user_id, &account, now)))
}

/// The same where there must be one.
pub(crate) async fn existing(
    state: &ApiState,
    tenant_id: &TenantId,
    user_id: &UserId,
) -> Result<AccountShown, ApiError> {
    let found = find(state, tenant_id, user_id).await?;
    found.ok_or_else(|| QuotaRejection::AccountNotFound.into())
}

/// The account's id, once the read models have the account; there must be one.
pub(crate) async fn readable(
    state: &ApiState,
    tenant_id: &TenantId,
    user_id: &UserId,
) -> Result<AccountId, ApiError> {
    if existing(state, tenant_id, user_id).await?.position.is_none() {
        position::wait_for_head(state).await?;
    }
    Ok(AccountId::of(tenant_id, user_id))
}
