//! What was used: by day, model or service, and as a whole.

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use domain::quota::QuotaRejection;
use domain::{AccountId, ActorRole, UserId};
use eventstore::Position;
use projections::{Statistics, UsageGroup, UsageLine, UsageScope};
use serde::{Deserialize, Serialize};

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::Params;
use crate::position;
use crate::quota::period::Period;
use crate::state::ApiState;

/// `GET /v1/usage`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    from: Option<String>,
    to: Option<String>,
    group_by: Option<UsageGroup>,
    user_id: Option<UserId>,
    #[serde(default)]
    scope: Scope,
    min_position: Option<Position>,
}

/// `GET /v1/quota/statistics`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatisticsQuery {
    from: Option<String>,
    to: Option<String>,
    user_id: Option<UserId>,
    #[serde(default)]
    scope: Scope,
    min_position: Option<Position>,
}

/// Whose use to look at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// One user's, by default the caller's.
    #[default]
    User,
    /// All of the tenant.
    Tenant,
}

/// What was used, line by line.
#[derive(Debug, Serialize)]
pub(crate) struct UsageReport {
    /// The first day.
    from: NaiveDate,
    /// The last day.
    to: NaiveDate,
    group_by: UsageGroup,
    data: Vec<UsageLine>,
}

/// What was used as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct StatisticsReport {
    /// The first day.
    from: NaiveDate,
    /// The last day.
    to: NaiveDate,
    #[serde(flatten)]
    statistics: Statistics,
    by_day: Vec<UsageLine>,
    by_model: Vec<UsageLine>,
    by_service: Vec<UsageLine>,
}

pub(crate) async fn usage(
    State(state): State<ApiState>,
    caller: Authenticated,
    Params(query): Params<UsageQuery>,
) -> Result<Json<UsageReport>, ApiError> {
    let scope = scope_of(&caller, query.user_id, query.scope)?;
    let (from, to) = days(&state, query.from.as_deref(), query.to.as_deref())?;
    position::wait(&state, query.min_position).await?;
    let group_by = query.group_by.unwrap_or(UsageGroup::Day);
    let data = projections::usage(state.pool(), &scope, from, to, group_by).await?;
    Ok(Json(UsageReport { from, to, group_by, data }))
}

pub(crate) async fn statistics(
    State(state): State<ApiState>,
    caller: Authenticated,
    Params(query): Params<StatisticsQuery>,
) -> Result<Json<StatisticsReport>, ApiError> {
    let scope = scope_of(&caller, query.user_id, query.scope)?;
    position::wait(&state, query.min_position).await?;
    report(&state, &scope, query.from.as_deref(), query.to.as_deref()).await
}

/// The statistics of `scope` between `from` and `to`.
pub(crate) async fn report(
    state: &ApiState,
    scope: &UsageScope,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<Json<StatisticsReport>, ApiError> {
    let (from, to) = days(state, from, to)?;
    let pool = state.pool();
    let by = |group| projections::usage(pool, scope, from, to, group);
    let statistics = projections::statistics(pool, scope, from, to).await?;
    let by_day = by(UsageGroup::Day).await?;
    let by_model = by(UsageGroup::Model).await?;
    let by_service = by(UsageGroup::Service).await?;
    Ok(Json(StatisticsReport { from, to, statistics, by_day, by_model, by_service }))
}

fn days(
    state: &ApiState,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(NaiveDate, NaiveDate), ApiError> {
    Ok(Period::read(from, to, state.bus.clock().now())?.days())
}

/// Users see their own use and nobody else's.
fn scope_of(
    caller: &Authenticated,
    user_id: Option<UserId>,
    scope: Scope,
) -> Result<UsageScope, ApiError> {
    let actor = &caller.actor;
    let user_id = match (scope, user_id) {
        (Scope::Tenant, None) => None,
        (Scope::Tenant, Some(_)) => {
            let detail = "`scope=tenant` is about all users; leave `user_id` out";
            return Err(ApiError::bad_request("invalid_query", detail).with_field("user_id"));
        }
        (Scope::User, user_id) => Some(user_id.unwrap_or_else(|| actor.user_id.clone())),
    };
    if actor.role != ActorRole::Admin && user_id.as_ref() != Some(&actor.user_id) {
        return Err(QuotaRejection::AdminOnly.into());
    }
    let account_id = user_id.map(|user_id| AccountId::of(&actor.tenant_id, &user_id));
    Ok(UsageScope { tenant_id: actor.tenant_id.clone(), account_id })
}
