//! What was consumed at prices that turned out wrong, for those who correct it.

use chrono::{DateTime, Utc};
use domain::{AccountId, Credits, TenantId, Usage, UserId};
use eventstore::{Database, Position, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

/// Which consumption to look at; what is unset is no condition.
#[derive(Debug, Clone)]
pub struct RepriceScope {
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Of this account.
    pub account_id: Option<AccountId>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Not before this moment.
    pub from: DateTime<Utc>,
    /// Before this moment.
    pub to: DateTime<Utc>,
}

/// Something that was consumed, and what it costs by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repriceable {
    /// Whose account was charged.
    pub tenant_id: TenantId,
    /// Whose account was charged.
    pub user_id: UserId,
    /// The entry.
    pub entry_id: Uuid,
    /// The service that used it.
    pub service: String,
    /// The model that did.
    pub model: String,
    /// What was used.
    pub usage: Usage,
    /// When.
    pub consumed_at: DateTime<Utc>,
    /// The moment whose price it has.
    pub priced_at: DateTime<Utc>,
    /// What was charged, earlier corrections included.
    pub charged: Credits,
    /// Its event.
    pub position: Position,
}

/// Up to `limit` entries after `after`, in the order of the log. To go on, begin after the last
/// one's position.
///
/// The accounts' owners stand in another read model: wait for a position in all of them.
pub async fn repriceable(
    pool: &Database,
    scope: &RepriceScope,
    after: Position,
    limit: u32,
) -> Result<Vec<Repriceable>, StoreError> {
    let mut query = select(scope, after);
    query.push(" ORDER BY c.position LIMIT ").push_bind(i64::from(limit)).push(") line");
    let lines: Vec<Json<Repriceable>> = query
        .build_query_scalar()
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("list what can be repriced", error))?;
    Ok(lines.into_iter().map(|line| line.0).collect())
}

/// Positive change is in the account's favour: what was charged is the negated sum.
const ENTRIES: &str = "SELECT row_to_json(line) FROM (
    SELECT a.tenant_id, a.user_id, c.entry_id, c.service, c.model, c.usage,
           c.at AS consumed_at, c.priced_at, c.position,
           (-(c.credits::numeric) - coalesce(corrected.credits, 0))::text AS charged
    FROM transactions c
    JOIN accounts a ON a.account_id = c.account_id
    LEFT JOIN LATERAL (
        SELECT sum(r.credits::numeric) AS credits FROM transactions r
        WHERE r.account_id = c.account_id AND r.reprices = c.entry_id
    ) corrected ON true
    WHERE c.kind = 'consumption' AND c.position > ";

fn select(scope: &RepriceScope, after: Position) -> QueryBuilder<'_, Postgres> {
    let mut query = QueryBuilder::new(ENTRIES);
    query.push_bind(after);
    query.push(" AND c.at >= ").push_bind(scope.from);
    query.push(" AND c.at < ").push_bind(scope.to);
    if let Some(tenant_id) = &scope.tenant_id {
        query.push(" AND c.tenant_id = ").push_bind(tenant_id.as_str());
    }
    if let Some(account_id) = scope.account_id {
        query.push(" AND c.account_id = ").push_bind(account_id.0);
    }
    if let Some(service) = &scope.service {
        query.push(" AND c.service = ").push_bind(service);
    }
    if let Some(model) = &scope.model {
        query.push(" AND c.model = ").push_bind(model);
    }
    query
}
