//! Reading the ledger of an account.

use chrono::{DateTime, Utc};
use domain::AccountId;
use eventstore::{Database, Position, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder};

use crate::scope::Page;
use crate::transactions::{TransactionKind, TransactionRow};

/// A place in an account's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionCursor {
    /// The event of the line there.
    pub position: Position,
}

/// Which lines to list; what is unset is no condition.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Of this kind.
    pub kind: Option<TransactionKind>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Not before this moment.
    pub from: Option<DateTime<Utc>>,
    /// Before this moment.
    pub to: Option<DateTime<Utc>>,
    /// From the end; else from the beginning.
    pub newest_first: bool,
}

/// Up to `limit` lines of an account's ledger, in the order of the log or against it.
pub async fn list_transactions(
    pool: &Database,
    account_id: AccountId,
    filter: &TransactionFilter,
    after: Option<TransactionCursor>,
    limit: u32,
) -> Result<Page<TransactionRow, TransactionCursor>, StoreError> {
    let mut query = select(account_id, filter, after);
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    query.push(" ORDER BY t.position ").push(order).push(" LIMIT ");
    query.push_bind(i64::from(limit) + 1);
    let rows: Vec<Json<TransactionRow>> = query
        .build_query_scalar()
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("list transactions", error))?;
    let rows = rows.into_iter().map(|row| row.0).collect();
    Ok(Page::cut(rows, limit, |row: &TransactionRow| TransactionCursor { position: row.position }))
}

fn select(
    account_id: AccountId,
    filter: &TransactionFilter,
    after: Option<TransactionCursor>,
) -> QueryBuilder<'_, Postgres> {
    let mut query =
        QueryBuilder::new("SELECT row_to_json(t) FROM transactions t WHERE t.account_id = ");
    query.push_bind(account_id.0);
    if let Some(kind) = filter.kind {
        query.push(" AND t.kind = ").push_bind(kind.as_str());
    }
    if let Some(service) = &filter.service {
        query.push(" AND t.service = ").push_bind(service);
    }
    if let Some(model) = &filter.model {
        query.push(" AND t.model = ").push_bind(model);
    }
    if let Some(from) = filter.from {
        query.push(" AND t.at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" AND t.at < ").push_bind(to);
    }
    if let Some(cursor) = after {
        let beyond = if filter.newest_first { "<" } else { ">" };
        query.push(" AND t.position ").push(beyond).push(" ").push_bind(cursor.position);
    }
    query
}
