//! The deployment's providers. Their API keys stand in the environment of the workers and are
//! never seen here.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::catalog::{
    Catalog, CatalogCommand, CatalogRejection, Continuation, Entry, MaxTokensField, NewProvider,
    ProviderKind, ProviderPatch, ProviderSpec,
};
use domain::{ModelSpec, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Name, Operator, change, changed};
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::position::MinPosition;
use crate::routes::List;
use crate::state::ApiState;

/// A provider as admins see it.
#[derive(Debug, Serialize)]
pub(crate) struct ProviderView {
    name: String,
    kind: ProviderKind,
    base_url: Option<String>,
    api_key_env: Option<String>,
    max_tokens_field: MaxTokensField,
    continuation: Continuation,
    max_retries: u32,
    connect_timeout_ms: u64,
    first_token_timeout_ms: u64,
    inter_token_timeout_ms: u64,
    total_timeout_ms: u64,
    word_pace_ms: u64,
    status: Status,
    /// Whether the configuration names it, or did.
    from_config: bool,
    /// The names of its models.
    models: Vec<String>,
    /// The names of the models that turn to it where their own provider fails.
    fallback_of: Vec<String>,
}

impl ProviderView {
    fn new(catalog: &Catalog, entry: &Entry<ProviderSpec>) -> Self {
        let spec = entry.spec.clone();
        let names = |holds: &dyn Fn(&ModelSpec) -> bool| {
            let models = catalog.models.values().map(|model| &model.spec);
            models.filter(|model| holds(model)).map(|model| model.name.clone()).collect()
        };
        let is_fallback =
            |model: &ModelSpec| model.fallbacks.iter().any(|one| one.provider == spec.name);
        Self {
            models: names(&|model| model.provider == spec.name),
            fallback_of: names(&is_fallback),
            name: spec.name,
            kind: spec.kind,
            base_url: spec.base_url,
            api_key_env: spec.api_key_env,
            max_tokens_field: spec.max_tokens_field,
            continuation: spec.continuation,
            max_retries: spec.max_retries,
            connect_timeout_ms: spec.connect_timeout_ms,
            first_token_timeout_ms: spec.first_token_timeout_ms,
            inter_token_timeout_ms: spec.inter_token_timeout_ms,
            total_timeout_ms: spec.total_timeout_ms,
            word_pace_ms: spec.word_pace_ms,
            status: spec.status,
            from_config: entry.seeded.is_some(),
        }
    }

    fn find(catalog: &Catalog, name: &str) -> Result<Self, ApiError> {
        let entry = catalog.providers.get(name).map(|entry| Self::new(catalog, entry));
        entry.ok_or_else(|| CatalogRejection::ProviderNotFound(name.to_owned()).into())
    }
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    _: Operator,
    Params(_): Params<MinPosition>,
) -> Result<Json<List<ProviderView>>, ApiError> {
    let current = state.bus.catalog().catch_up().await?;
    let view = |entry| ProviderView::new(&current.catalog, entry);
    let data = current.catalog.providers.values().map(view).collect();
    Ok(Json(List { data, next_cursor: None, has_more: false }))
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    _: Operator,
    Name(name): Name,
    Params(_): Params<MinPosition>,
) -> Result<Json<ProviderView>, ApiError> {
    let current = state.bus.catalog().catch_up().await?;
    ProviderView::find(&current.catalog, &name).map(Json)
}

/// `POST /v1/admin/providers`
#[derive(Debug, Deserialize)]
pub(crate) struct ProviderRequest {
    name: String,
    kind: ProviderKind,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(crate) async fn add(
    State(state): State<ApiState>,
    operator: Operator,
    Body(request): Body<ProviderRequest>,
) -> Result<Response, ApiError> {
    let ProviderRequest { name, kind, rest } = request;
    let rest = serde_json::from_value(Value::Object(rest)).map_err(|error| {
        ApiError::bad_request("invalid_body", format!("the body doesn't fit: {error}"))
    })?;
    let command = CatalogCommand::AddProvider(NewProvider { name: name.clone(), kind, rest });
    let executed = change(&state, &operator, command).await?;
    let view = ProviderView::find(&executed.current.catalog, &name)?;
    Ok(changed(StatusCode::CREATED, &executed, view))
}

pub(crate) async fn update(
    State(state): State<ApiState>,
    operator: Operator,
    Name(name): Name,
    Body(patch): Body<ProviderPatch>,
) -> Result<Response, ApiError> {
    let command = CatalogCommand::ChangeProvider { name: name.clone(), patch };
    let executed = change(&state, &operator, command).await?;
    let view = ProviderView::find(&executed.current.catalog, &name)?;
    Ok(changed(StatusCode::OK, &executed, view))
}
