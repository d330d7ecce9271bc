//! The caller's own account: how it stands, its ledger, and use that isn't a turn's.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::quota::Sum;
use domain::{AccountId, Credits, Price, TurnId, Usage, UserId};
use eventstore::Position;
use projections::{TransactionFilter, TransactionKind, TransactionRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::List;
use crate::caller::Authenticated;
use crate::cursor;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::position::{self, MinPosition};
use crate::quota::account::{self, AccountShown};
use crate::quota::amounts::Fields;
use crate::quota::execute::execute;
use crate::quota::period::Bounds;
use crate::state::ApiState;

/// Writes nothing: an account that was never used is shown as its first use would open it.
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Authenticated,
    Params(min): Params<MinPosition>,
) -> Result<Json<AccountShown>, ApiError> {
    position::wait(&state, min.position()).await?;
    let actor = &caller.actor;
    let shown = match account::find(&state, &actor.tenant_id, &actor.user_id).await? {
        Some(shown) => shown,
        None => AccountShown::unopened(&state, &caller)?,
    };
    Ok(Json(shown))
}

/// `POST /v1/quota/consume`
pub(crate) async fn consume(
    State(state): State<ApiState>,
    caller: Authenticated,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let mut fields = Fields::from(fields);
    let user_id = fields.value::<UserId>("user_id")?;
    let command = ("ConsumeQuota", fields);
    let changed = execute(&state, &caller, user_id, command, None).await?;
    Ok(changed.respond(StatusCode::OK))
}

/// A line of the ledger as clients see it.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionView {
    id: Uuid,
    kind: TransactionKind,
    entry_id: Option<Uuid>,
    turn_id: Option<TurnId>,
    service: Option<String>,
    model: Option<String>,
    usage: Option<Usage>,
    price: Option<Price>,
    tokens: i64,
    credits: Credits,
    /// After it.
    balance: Sum,
    late: bool,
    overdrawn_tokens: i64,
    reprices: Option<Uuid>,
    reason: Option<String>,
    by: Option<UserId>,
    at: DateTime<Utc>,
    position: Position,
}

impl From<TransactionRow> for TransactionView {
    fn from(row: TransactionRow) -> Self {
        Self {
            id: row.transaction_id,
            kind: row.kind,
            entry_id: row.entry_id,
            turn_id: row.turn_id,
            service: row.service,
            model: row.model,
            usage: row.usage,
            price: row.price,
            tokens: row.tokens,
            credits: row.credits,
            balance: Sum { tokens: row.balance_tokens, credits: row.balance_credits },
            late: row.late,
            overdrawn_tokens: row.overdrawn_tokens,
            reprices: row.reprices,
            reason: row.reason,
            by: row.by_user,
            at: row.at,
            position: row.position,
        }
    }
}

/// Which lines of a ledger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransactionsQuery {
    kind: Option<TransactionKind>,
    service: Option<String>,
    model: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
    #[serde(default)]
    order: NewestFirst,
    min_position: Option<Position>,
}

impl TransactionsQuery {
    pub(crate) fn min_position(&self) -> Option<Position> {
        self.min_position
    }
}

/// Newest first, or oldest first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NewestFirst {
    Asc,
    #[default]
    Desc,
}

pub(crate) async fn transactions(
    State(state): State<ApiState>,
    caller: Authenticated,
    Params(query): Params<TransactionsQuery>,
) -> Result<Json<List<TransactionView>>, ApiError> {
    let id = AccountId::of(&caller.actor.tenant_id, &caller.actor.user_id);
    position::wait(&state, query.min_position()).await?;
    list(&state, id, query).await
}

/// The lines of an account that `query` asks for.
pub(crate) async fn list(
    state: &ApiState,
    id: AccountId,
    query: TransactionsQuery,
) -> Result<Json<List<TransactionView>>, ApiError> {
    let limit = cursor::limit(query.limit)?;
    let after = cursor::decode(query.cursor.as_deref())?;
    let Bounds { from, to } = Bounds::read(query.from.as_deref(), query.to.as_deref())?;
    let filter = TransactionFilter {
        kind: query.kind,
        service: query.service,
        model: query.model,
        from,
        to,
        newest_first: query.order == NewestFirst::Desc,
    };
    let page = projections::list_transactions(state.pool(), id, &filter, after, limit).await?;
    let next_cursor = page.next.and_then(|next| cursor::encode(&next));
    let data = page.items.into_iter().map(TransactionView::from).collect();
    Ok(Json(List { data, has_more: next_cursor.is_some(), next_cursor }))
}
