//! Reading accounts: for their owners and admins, and for the sweeper.
//!
//! An account's id follows from its tenant and user ([`AccountId::of`]): who makes it from what
//! the caller may see finds nothing else.

use chrono::{DateTime, Utc};
use domain::{AccountId, ReservationId, TenantId, UserId};
use eventstore::StoreError;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::accounts::AccountRow;
use crate::scope::Page;

/// A place in the list of a tenant's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCursor {
    /// The user there.
    pub user_id: UserId,
}

/// A hold whose time is over and that still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredHold {
    /// Whose account it is on.
    pub tenant_id: TenantId,
    /// Whose account it is on.
    pub user_id: UserId,
    /// The hold.
    pub reservation_id: ReservationId,
}

/// The account, if it was opened.
pub async fn get_account(
    pool: &PgPool,
    account_id: AccountId,
) -> Result<Option<AccountRow>, StoreError> {
    let row: Option<Json<AccountRow>> =
        sqlx::query_scalar("SELECT row_to_json(a) FROM accounts a WHERE a.account_id = $1")
            .bind(account_id.0)
            .fetch_optional(pool)
            .await
            .map_err(|error| StoreError::from_sqlx("read an account", error))?;
    Ok(row.map(|row| row.0))
}

/// Up to `limit` accounts of a tenant, in the order of their users' ids.
pub async fn list_accounts(
    pool: &PgPool,
    tenant_id: &TenantId,
    after: Option<&AccountCursor>,
    limit: u32,
) -> Result<Page<AccountRow, AccountCursor>, StoreError> {
    // No user's id is empty.
    let rows: Vec<Json<AccountRow>> = sqlx::query_scalar(
        "SELECT row_to_json(a) FROM accounts a
         WHERE a.tenant_id = $1 AND a.user_id > $2
         ORDER BY a.user_id LIMIT $3",
    )
    .bind(tenant_id.as_str())
    .bind(after.map_or("", |cursor| cursor.user_id.as_str()))
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list accounts", error))?;
    let rows = rows.into_iter().map(|row| row.0).collect();
    Ok(Page::cut(rows, limit, |row: &AccountRow| AccountCursor { user_id: row.user_id.clone() }))
}

/// Up to `limit` holds, of all tenants, whose time is over at `now`; those of the account that
/// waits longest first.
pub async fn expired_holds(
    pool: &PgPool,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<ExpiredHold>, StoreError> {
    let rows: Vec<Json<AccountRow>> = sqlx::query_scalar(
        "SELECT row_to_json(a) FROM accounts a
         WHERE a.next_expiry <= $1 ORDER BY a.next_expiry LIMIT $2",
    )
    .bind(now)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list expired holds", error))?;
    let holds = rows.into_iter().flat_map(|row| expired(&row.0, now));
    Ok(holds.take(limit as usize).collect())
}

fn expired(row: &AccountRow, now: DateTime<Utc>) -> Vec<ExpiredHold> {
    let over = row.state.holds.iter().filter(|(_, hold)| !hold.expired && hold.expires_at <= now);
    over.map(|(reservation_id, _)| ExpiredHold {
        tenant_id: row.tenant_id.clone(),
        user_id: row.user_id.clone(),
        reservation_id: *reservation_id,
    })
    .collect()
}
