//! Reading accounts: for their owners and admins, and for the relay, which ends their holds.
//!
//! An account's id follows from its tenant and user ([`AccountId::of`]): who makes it from what
//! the caller may see finds nothing else.

use chrono::{DateTime, Utc};
use domain::{AccountId, ReservationId, TenantId, UserId};
use eventstore::{Database, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::accounts::AccountRow;
use crate::read_model::ReadModel;
use crate::scope::Page;

/// A place in the list of a tenant's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCursor {
    /// The user there.
    pub user_id: UserId,
}

/// A hold that still counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OpenHold {
    /// Whose account it is on.
    pub tenant_id: TenantId,
    /// Whose account it is on.
    pub user_id: UserId,
    /// The hold.
    pub reservation_id: ReservationId,
}

/// The account, if it was opened.
pub async fn get_account(
    pool: &Database,
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
    pool: &Database,
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
    pool: &Database,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<OpenHold>, StoreError> {
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

/// Up to `limit` holds, of all tenants, whose turns have ended: those are usually settled in the
/// same moment.
pub async fn orphaned_holds(pool: &Database, limit: u32) -> Result<Vec<OpenHold>, StoreError> {
    // A turn is in its read model as soon as that has come as far as the hold's account.
    let rows: Vec<(String, String, Uuid)> = sqlx::query_as(
        "SELECT a.tenant_id, a.user_id, h.key::uuid
         FROM accounts a CROSS JOIN LATERAL json_object_keys(a.state->'holds') AS h(key)
         WHERE a.next_expiry IS NOT NULL
           AND a.last_position <= (SELECT position FROM checkpoints WHERE name = $1)
           AND NOT EXISTS (SELECT FROM turns t
                           WHERE t.turn_id = h.key::uuid AND t.ended_at IS NULL)
         LIMIT $2",
    )
    .bind(ReadModel::Turns.name())
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list holds of ended turns", error))?;
    let holds = rows.into_iter().filter_map(|(tenant, user, hold)| {
        let (tenant_id, user_id) = (tenant.parse().ok()?, user.parse().ok()?);
        Some(OpenHold { tenant_id, user_id, reservation_id: ReservationId(hold) })
    });
    Ok(holds.collect())
}

fn expired(row: &AccountRow, now: DateTime<Utc>) -> Vec<OpenHold> {
    let over = row.state.holds.iter().filter(|(_, hold)| !hold.expired && hold.expires_at <= now);
    over.map(|(reservation_id, _)| OpenHold {
        tenant_id: row.tenant_id.clone(),
        user_id: row.user_id.clone(),
        reservation_id: *reservation_id,
    })
    .collect()
}
