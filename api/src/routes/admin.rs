//! `/v1/admin/…`: what only admins may see and do.

pub(crate) mod accounts;
pub(crate) mod models;
pub(crate) mod prices;
pub(crate) mod providers;
pub(crate) mod tiers;

use ::commands::{CatalogExecuted, CommandError};
use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::ActorRole;
use domain::catalog::CatalogCommand;
use domain::quota::QuotaRejection;
use serde::Serialize;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::position;
use crate::state::ApiState;

/// An admin of their tenant.
pub(crate) struct Admin(pub(crate) Authenticated);

impl FromRequestParts<ApiState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let caller = Authenticated::from_request_parts(parts, state).await?;
        match caller.actor.role {
            ActorRole::Admin => Ok(Self(caller)),
            _ => Err(QuotaRejection::AdminOnly.into()),
        }
    }
}

/// An admin who may change what all tenants share.
pub(crate) struct Operator(Authenticated);

impl FromRequestParts<ApiState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Admin(caller) = Admin::from_request_parts(parts, state).await?;
        let operators = state.operator_tenant.as_ref();
        if operators.is_some_and(|tenant| *tenant != caller.actor.tenant_id) {
            let detail = "this concerns all tenants; it is for admins of the operator's tenant";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "operator_only", detail));
        }
        Ok(Self(caller))
    }
}

/// The name in the path; one that is no text names nothing.
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<ApiState> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(name)| name).unwrap_or_default()))
    }
}

/// Changes the catalog, whether or not the client stays to hear of it.
async fn change(
    state: &ApiState,
    Operator(caller): &Operator,
    command: CatalogCommand,
) -> Result<CatalogExecuted, ApiError> {
    let caller = caller.caller(None);
    let catalog = state.bus.catalog().clone();
    let work = tokio::spawn(async move { catalog.execute(&command, &caller).await });
    let executed: Result<_, CommandError> =
        work.await.map_err(|error| ApiError::internal(&error))?;
    Ok(executed?)
}

/// The answer to a change: what it made, and where in the log it stands.
fn changed(status: StatusCode, executed: &CatalogExecuted, view: impl Serialize) -> Response {
    let mut response = (status, Json(view)).into_response();
    position::set(&mut response, executed.position);
    response
}
