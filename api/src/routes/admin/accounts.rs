//! `/v1/admin/accounts`: the accounts of the admin's tenant.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::UserId;
use eventstore::Position;
use projections::{AccountCursor, UsageScope};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Admin;
use crate::error::ApiError;
use crate::extract::{Body, OptionalBody, Params, PathUser};
use crate::position::MinPosition;
use crate::quota::account::{self, AccountShown};
use crate::quota::amounts::Fields;
use crate::quota::execute::execute;
use crate::routes::List;
use crate::routes::quota::{TransactionView, TransactionsQuery, list as list_transactions};
use crate::routes::usage::{StatisticsReport, report};
use crate::state::ApiState;
use crate::{cursor, position};

/// `GET /v1/admin/accounts`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    min_position: Option<Position>,
}

/// In the order of the users' ids.
pub(crate) async fn list(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    Params(query): Params<ListQuery>,
) -> Result<Json<List<AccountShown>>, ApiError> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<AccountCursor> = cursor::decode(query.cursor.as_deref())?;
    position::wait(&state, query.min_position).await?;
    let tenant = &caller.actor.tenant_id;
    let page = projections::list_accounts(state.pool(), tenant, after.as_ref(), limit).await?;
    let now = state.bus.clock().now();
    let next_cursor = page.next.and_then(|next| cursor::encode(&next));
    let data = page.items.into_iter().map(|row| AccountShown::new(row, now)).collect();
    Ok(Json(List { data, has_more: next_cursor.is_some(), next_cursor }))
}

pub(crate) async fn open(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let mut fields = Fields::from(fields);
    let user_id = fields.value::<UserId>("user_id")?;
    let user_id = fields.needed("user_id", user_id)?;
    let command = ("OpenAccount", fields);
    let changed = execute(&state, &caller, Some(user_id), command, None).await?;
    Ok(changed.respond(StatusCode::CREATED))
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    PathUser(user_id): PathUser,
    Params(min): Params<MinPosition>,
) -> Result<Json<AccountShown>, ApiError> {
    position::wait(&state, min.position()).await?;
    Ok(Json(account::existing(&state, &caller.actor.tenant_id, &user_id).await?))
}

pub(crate) async fn transactions(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    PathUser(user_id): PathUser,
    Params(query): Params<TransactionsQuery>,
) -> Result<Json<List<TransactionView>>, ApiError> {
    position::wait(&state, query.min_position()).await?;
    let id = account::readable(&state, &caller.actor.tenant_id, &user_id).await?;
    list_transactions(&state, id, query).await
}

/// `GET /v1/admin/accounts/{user_id}/statistics`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatisticsQuery {
    from: Option<String>,
    to: Option<String>,
    min_position: Option<Position>,
}

pub(crate) async fn statistics(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    PathUser(user_id): PathUser,
    Params(query): Params<StatisticsQuery>,
) -> Result<Json<StatisticsReport>, ApiError> {
    position::wait(&state, query.min_position).await?;
    let tenant_id = caller.actor.tenant_id;
    let account_id = Some(account::readable(&state, &tenant_id, &user_id).await?);
    let scope = UsageScope { tenant_id, account_id };
    report(&state, &scope, query.from.as_deref(), query.to.as_deref()).await
}

/// Routes that carry a command out whose fields are the body's.
macro_rules! commands {
    ($($(#[$doc:meta])* $route:ident = $command:literal, $body:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) async fn $route(
            State(state): State<ApiState>,
            Admin(caller): Admin,
            PathUser(user_id): PathUser,
            $body(fields): $body<Map<String, Value>>,
        ) -> Result<Response, ApiError> {
            let command = ($command, Fields::from(fields));
            let changed = execute(&state, &caller, Some(user_id), command, None).await?;
            Ok(changed.respond(StatusCode::OK))
        }
    )*};
}

commands! {
    /// Another tier, or its limits as they are today.
    change_tier = "ChangeTier", Body;
    /// Limits of its own.
    override_limits = "OverrideLimits", Body;
    /// What was paid for.
    recharge = "RechargeQuota", Body;
    /// No more turns.
    suspend = "SuspendQuota", Body;
    /// Turns again.
    activate = "ActivateQuota", OptionalBody;
    /// What was used is forgotten.
    reset = "ResetQuota", Body;
    /// A correction.
    adjust = "PostAdjustment", Body;
}
