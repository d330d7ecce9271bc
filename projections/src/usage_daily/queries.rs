//! Reading what was used: sums, averages and peaks.

use chrono::NaiveDate;
use domain::{AccountId, Credits, TenantId};
use eventstore::{Database, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder};

/// Whose use to look at.
#[derive(Debug, Clone)]
pub struct UsageScope {
    /// This tenant's.
    pub tenant_id: TenantId,
    /// Of it, this account's alone.
    pub account_id: Option<AccountId>,
}

/// What makes a line of [`usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageGroup {
    /// A day, UTC.
    Day,
    /// A model.
    Model,
    /// A service.
    Service,
}

/// Sums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageTotals {
    /// How often something was used.
    pub requests: i64,
    /// Tokens of prompts, cached ones included.
    pub prompt_tokens: i64,
    /// Tokens of answers, reasoning included.
    pub completion_tokens: i64,
    /// Tokens of prompts that came from the provider's cache.
    pub cached_tokens: i64,
    /// Tokens of answers that were reasoning.
    pub reasoning_tokens: i64,
    /// Tokens of prompts and answers.
    pub total_tokens: i64,
    /// What it cost, corrections included.
    pub credits: Credits,
    /// Requests whose tokens are our estimate.
    pub estimated_requests: i64,
    /// Tokens of the largest request.
    pub most_tokens: i64,
}

/// What was used on a day, of a model, or by way of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLine {
    /// The day (as 2026-01-31), the model or the service.
    pub key: String,
    /// How much.
    #[serde(flatten)]
    pub totals: UsageTotals,
}

/// The day on which most tokens were used; the first of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakDay {
    /// The day.
    pub day: NaiveDate,
    /// Its tokens.
    pub tokens: i64,
}

/// What was used in a span of days. The largest request is among the totals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// All of it.
    pub totals: UsageTotals,
    /// Days on which something was used.
    pub active_days: i64,
    /// To two places; none if nothing was used.
    pub tokens_per_request: Option<f64>,
    /// To two places; none if nothing was used.
    pub tokens_per_active_day: Option<f64>,
    /// None if nothing was used.
    pub peak_day: Option<PeakDay>,
}

/// The fields of [`UsageTotals`].
const TOTALS: &str = "
    coalesce(sum(requests), 0)::bigint AS requests,
    coalesce(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
    coalesce(sum(completion_tokens), 0)::bigint AS completion_tokens,
    coalesce(sum(cached_tokens), 0)::bigint AS cached_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    coalesce(sum(prompt_tokens + completion_tokens), 0)::bigint AS total_tokens,
    coalesce(sum(credits::numeric), 0)::text AS credits,
    coalesce(sum(estimated_requests), 0)::bigint AS estimated_requests,
    coalesce(max(most_tokens), 0) AS most_tokens";

/// What was used from `from` to `to`, both included: a line for each day, model or service, in
/// their order. What nobody used has no line.
pub async fn usage(
    pool: &Database,
    scope: &UsageScope,
    from: NaiveDate,
    to: NaiveDate,
    group: UsageGroup,
) -> Result<Vec<UsageLine>, StoreError> {
    let key = match group {
        UsageGroup::Day => "day::text",
        UsageGroup::Model => "model",
        UsageGroup::Service => "service",
    };
    let mut query = QueryBuilder::new("SELECT row_to_json(line) FROM (SELECT ");
    query.push(key).push(" AS key,").push(TOTALS).push(" FROM usage_daily WHERE ");
    restrict(&mut query, scope, from, to);
    query.push(" GROUP BY 1 ORDER BY 1) line");
    let lines: Vec<Json<UsageLine>> = query
        .build_query_scalar()
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("sum up usage", error))?;
    Ok(lines.into_iter().map(|line| line.0).collect())
}

/// What was used from `from` to `to`, both included, as a whole.
pub async fn statistics(
    pool: &Database,
    scope: &UsageScope,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Statistics, StoreError> {
    let mut query = QueryBuilder::new("WITH used AS (SELECT * FROM usage_daily WHERE ");
    restrict(&mut query, scope, from, to);
    query.push("), totals AS (SELECT ").push(TOTALS).push(" FROM used)").push(STATISTICS);
    let statistics: Json<Statistics> = query
        .build_query_scalar()
        .fetch_one(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("make statistics of usage", error))?;
    Ok(statistics.0)
}

const STATISTICS: &str = ", days AS (
        SELECT day, sum(prompt_tokens + completion_tokens)::bigint AS tokens
        FROM used GROUP BY day
    ), peak AS (
        SELECT day, tokens FROM days ORDER BY tokens DESC, day LIMIT 1
    )
    SELECT json_build_object(
        'totals', row_to_json(totals),
        'active_days', (SELECT count(*) FROM days),
        'tokens_per_request', round(total_tokens::numeric / nullif(requests, 0), 2),
        'tokens_per_active_day', (SELECT round(avg(tokens), 2) FROM days),
        'peak_day', (SELECT row_to_json(peak) FROM peak))
    FROM totals";

fn restrict<'a>(
    query: &mut QueryBuilder<'a, Postgres>,
    scope: &'a UsageScope,
    from: NaiveDate,
    to: NaiveDate,
) {
    query.push("tenant_id = ").push_bind(scope.tenant_id.as_str());
    if let Some(account_id) = scope.account_id {
        query.push(" AND account_id = ").push_bind(account_id.0);
    }
    query.push(" AND day >= ").push_bind(from).push(" AND day <= ").push_bind(to);
}
