//! `GET /v1/models`: what callers may use.

use ::commands::CurrentCatalog;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::session::Rejection;
use domain::{ModelSpec, Price};
use serde::Serialize;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::routes::admin::prices::in_force;
use crate::state::ApiState;

/// A model as `OpenAI` shows it, with our own fields added.
#[derive(Debug, Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: String,
    /// A name for people.
    display_name: String,
    context_length: u32,
    max_output_tokens: u32,
    /// Whether it is used where a request names none.
    default: bool,
    /// What it costs now; nothing, if there are none.
    prices: Vec<ServicePrice>,
}

/// What a model costs a service.
#[derive(Debug, Serialize)]
struct ServicePrice {
    /// The service, or `*` for those that have no price of their own.
    service: String,
    #[serde(flatten)]
    price: Price,
}

impl Model {
    fn new(current: &CurrentCatalog, spec: &ModelSpec, now: DateTime<Utc>) -> Self {
        let prices = in_force(&current.prices, &spec.name, now);
        let default = current.models.default_model();
        Self {
            id: spec.name.clone(),
            object: "model",
            // Nobody knows when it was made; the field must be there.
            created: 0,
            owned_by: spec.provider.clone(),
            display_name: spec.display_name.clone().unwrap_or_else(|| spec.name.clone()),
            context_length: spec.context,
            max_output_tokens: spec.max_output,
            default: default.is_some_and(|default| default.name == spec.name),
            prices: prices
                .map(|entry| ServicePrice { service: entry.service.clone(), price: entry.price })
                .collect(),
        }
    }
}

/// The list.
#[derive(Debug, Serialize)]
pub(crate) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

pub(crate) async fn list(State(state): State<ApiState>, _: Authenticated) -> Json<Models> {
    let (current, now) = (state.bus.catalog().current(), state.bus.clock().now());
    let data = current.models.enabled().map(|spec| Model::new(&current, spec, now)).collect();
    Json(Models { object: "list", data })
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    _: Authenticated,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    // What is no text is no model's name either.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let current = state.bus.catalog().current();
    match current.models.get(&name) {
        Some(spec) if spec.is_enabled() => {
            Ok(Json(Model::new(&current, spec, state.bus.clock().now())))
        }
        Some(_) => Err(Rejection::ModelDisabled(name).into()),
        None => {
            let detail = format!("The model {name:?} does not exist; GET /v1/models lists them.");
            let error = ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail);
            Err(error.with_field("model"))
        }
    }
}
