//! `GET /v1/models`

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::ModelSpec;
use serde::Serialize;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::state::ApiState;

/// A model as `OpenAI` shows it, with our own fields added.
#[derive(Debug, Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: String,
    context_length: u32,
    max_output_tokens: u32,
}

impl From<&ModelSpec> for Model {
    fn from(spec: &ModelSpec) -> Self {
        Self {
            id: spec.name.clone(),
            object: "model",
            // Nobody knows when it was made; the field must be there.
            created: 0,
            owned_by: spec.provider.clone(),
            context_length: spec.context,
            max_output_tokens: spec.max_output,
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
    let data = state.bus.models().iter().map(Model::from).collect();
    Json(Models { object: "list", data })
}

pub(crate) async fn show(
    State(state): State<ApiState>,
    _: Authenticated,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    // What is no text is no model's name either.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let model = state.bus.models().get(&name).map(|model| Json(model.into()));
    model.ok_or_else(|| {
        let detail = format!("The model {name:?} does not exist; GET /v1/models lists them.");
        ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail).with_field("model")
    })
}
