//! `GET /v1/admin/tiers`: the sets of limits that the configuration names.

use axum::Json;
use axum::extract::State;
use domain::quota::Limits;
use serde::Serialize;

use super::Admin;
use crate::state::ApiState;

/// A tier; a limit of 0 is none.
#[derive(Debug, Serialize)]
pub(crate) struct Tier {
    name: String,
    limits: Limits,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(crate) struct Tiers {
    data: Vec<Tier>,
    /// That of a new account of this tenant whose token names none.
    default_tier: String,
}

pub(crate) async fn list(State(state): State<ApiState>, Admin(caller): Admin) -> Json<Tiers> {
    let policy = state.bus.policy();
    let tier = |(name, limits): (&String, &Limits)| {
        let (name, limits) = (name.clone(), limits.clone());
        Tier { name, limits }
    };
    let default_tier = policy.tier_for(&caller.actor.tenant_id, None).to_owned();
    Json(Tiers { data: policy.tiers.iter().map(tier).collect(), default_tier })
}
