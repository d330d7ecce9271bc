//! The deployment's models.

use ::commands::CurrentCatalog;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::catalog::{CatalogCommand, CatalogRejection, ModelPatch, NewModel};
use domain::{Fallback, ModelSpec, Status};
use serde::Serialize;

use super::prices::{PriceView, in_force};
use super::{Name, Operator, change, changed};
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::position::MinPosition;
use crate::routes::List;
use crate::state::ApiState;

/// A model as admins see it.
#[derive(Debug, Serialize)]
pub(crate) struct ModelView {
    name: String,
    display_name: Option<String>,
    provider: String,
    upstream_name: Option<String>,
    fallbacks: Vec<Fallback>,
    context: u32,
    max_output: u32,
    pool: String,
    status: Status,
    /// Whether callers may use it: it and its provider are enabled.
    available: bool,
    default: bool,
    sort: i32,
    /// Those that hold now.
    prices: Vec<PriceView>,
    /// Whether the configuration names it, or did.
    from_config: bool,
}

impl ModelView {
    fn new(current: &CurrentCatalog, spec: &ModelSpec, now: DateTime<Utc>) -> Self {
        let entry = current.catalog.models.get(&spec.name);
        let offered = current.models.get(&spec.name);
        Self {
            name: spec.name.clone(),
            display_name: spec.display_name.clone(),
            provider: spec.provider.clone(),
            upstream_name: spec.upstream_name.clone(),
            fallbacks: spec.fallbacks.clone(),
            context: spec.context,
            max_output: spec.max_output,
            pool: spec.pool.clone(),
            status: spec.status,
            available: offered.is_some_and(ModelSpec::is_enabled),
            default: spec.default,
            sort: spec.sort,
            prices: in_force(&current.prices, &spec.name, now).map(PriceView::in_force).collect(),
            from_config: entry.is_some_and(|entry| entry.seeded.is_some()),
        }
    }

    fn find(state: &ApiState, current: &CurrentCatalog, name: &str) -> Result<Self, ApiError> {
        let spec = current.catalog.model(name);
        spec.map(|spec| Self::new(current, spec, state.bus.clock().now()))
            .ok_or_else(|| CatalogRejection::ModelNotFound(name.to_owned()).into())
    }
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    _: Operator,
    Params(_): Params<MinPosition>,
) -> Result<Json<List<ModelView>>, ApiError> {
    let current = state.bus.catalog().catch_up().await?;
    let now = state.bus.clock().now();
    // In the order in which callers see them.
    let specs = current.models.iter().filter_map(|model| current.catalog.model(&model.name));
    let data = specs.map(|spec| ModelView::new(&current, spec, now)).collect();
    Ok(Json(List { data, next_cursor: None, has_more: false }))
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    _: Operator,
    Name(name): Name,
    Params(_): Params<MinPosition>,
) -> Result<Json<ModelView>, ApiError> {
    let current = state.bus.catalog().catch_up().await?;
    ModelView::find(&state, &current, &name).map(Json)
}

pub(crate) async fn add(
    State(state): State<ApiState>,
    operator: Operator,
    Body(new): Body<NewModel>,
) -> Result<Response, ApiError> {
    let name = new.name.clone();
    let executed = change(&state, &operator, CatalogCommand::AddModel(new)).await?;
    let view = ModelView::find(&state, &executed.current, &name)?;
    Ok(changed(StatusCode::CREATED, &executed, view))
}

pub(crate) async fn update(
    State(state): State<ApiState>,
    operator: Operator,
    Name(name): Name,
    Body(patch): Body<ModelPatch>,
) -> Result<Response, ApiError> {
    let command = CatalogCommand::ChangeModel { name: name.clone(), patch };
    let executed = change(&state, &operator, command).await?;
    let view = ModelView::find(&state, &executed.current, &name)?;
    Ok(changed(StatusCode::OK, &executed, view))
}
