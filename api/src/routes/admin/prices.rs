//! What the deployment's models cost.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::catalog::{CatalogCommand, CatalogRejection, NewPrice};
use domain::{Price, PriceBook, PriceEntry};
use eventstore::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Operator, change, changed};
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::routes::List;
use crate::state::ApiState;

/// A price as admins see it.
#[derive(Debug, Serialize)]
pub(crate) struct PriceView {
    id: Uuid,
    service: String,
    model: String,
    #[serde(flatten)]
    price: Price,
    /// From when on it holds.
    from: DateTime<Utc>,
    /// Whether it holds now.
    in_force: bool,
}

impl PriceView {
    pub(crate) fn in_force(entry: &PriceEntry) -> Self {
        Self::new(entry, true)
    }

    fn new(entry: &PriceEntry, in_force: bool) -> Self {
        Self {
            id: entry.price_id,
            service: entry.service.clone(),
            model: entry.model.clone(),
            price: entry.price,
            from: entry.from,
            in_force,
        }
    }
}

/// The prices of `model` that hold at `now`, by service.
pub(crate) fn in_force<'a>(
    prices: &'a PriceBook,
    model: &'a str,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a PriceEntry> {
    let entries = prices.of_model(model).iter();
    let services: BTreeSet<&str> = entries.map(|entry| entry.service.as_str()).collect();
    services.into_iter().filter_map(move |service| {
        prices.at(service, model, now).filter(|entry| entry.service == service)
    })
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceFilter {
    model: Option<String>,
    service: Option<String>,
    /// The answer is always as new as the log.
    #[serde(rename = "min_position")]
    _min_position: Option<Position>,
}

/// All that were ever set, the newest first.
pub(crate) async fn list(
    State(state): State<ApiState>,
    _: Operator,
    Params(filter): Params<PriceFilter>,
) -> Result<Json<List<PriceView>>, ApiError> {
    let current = state.bus.catalog().catch_up().await?;
    let now = state.bus.clock().now();
    if let Some(model) = &filter.model
        && current.catalog.model(model).is_none()
    {
        return Err(CatalogRejection::ModelNotFound(model.clone()).into());
    }
    let models = current.catalog.models.keys();
    let models = models.filter(|name| filter.model.as_ref().is_none_or(|model| model == *name));
    let data = models.flat_map(|model| {
        let holding: Vec<Uuid> =
            in_force(&current.prices, model, now).map(|entry| entry.price_id).collect();
        let entries = current.prices.of_model(model).iter().rev();
        let asked = |entry: &&PriceEntry| {
            filter.service.as_ref().is_none_or(|service| *service == entry.service)
        };
        entries
            .filter(asked)
            .map(move |entry| PriceView::new(entry, holding.contains(&entry.price_id)))
            .collect::<Vec<_>>()
    });
    Ok(Json(List { data: data.collect(), next_cursor: None, has_more: false }))
}

/// Answers with the price as it was set, or as it already was.
pub(crate) async fn set(
    State(state): State<ApiState>,
    operator: Operator,
    Body(new): Body<NewPrice>,
) -> Result<Response, ApiError> {
    let (service, model, from) = (new.service.clone(), new.model.clone(), new.from);
    let executed = change(&state, &operator, CatalogCommand::SetPrice(new)).await?;
    let now = state.bus.clock().now();
    let prices = &executed.current.prices;
    let holding = prices.at(&service, &model, now).map(|entry| entry.price_id);
    let entry = prices.at(&service, &model, from.unwrap_or(now));
    let entry = entry.ok_or_else(|| CatalogRejection::ModelNotFound(model.clone()))?;
    let view = PriceView::new(entry, holding == Some(entry.price_id));
    let status = if executed.position.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(changed(status, &executed, view))
}
