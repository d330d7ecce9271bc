//! Is it alive, is it ready, how is it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::state::ApiState;

/// The process runs.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Requests can be served. Without NATS they can, only slower: commands are accepted and
/// stored answers read; so only the database, and not being about to stop, counts.
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    if state.stopping.is_cancelled() {
        return not_ready("stopping");
    }
    match state.store.head().await {
        Ok(_) => Json(json!({ "status": "ready" })).into_response(),
        Err(error) => not_ready(&error.to_string()),
    }
}

fn not_ready(reason: &str) -> Response {
    let body = Json(json!({ "status": "not_ready", "reason": reason }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

/// Every dependency, one by one.
pub(crate) async fn health(State(state): State<ApiState>) -> Response {
    let (database, broker, probed) =
        tokio::join!(state.store.head(), state.broker.ping(), state.probe.probe());
    let projections = state.positions.health();
    let lagging = projections.projections.iter().any(|one| one.troubled);
    let mut checks = Map::new();
    let problem = |problem: Option<String>| match problem {
        None => json!({ "status": "ok" }),
        Some(problem) => json!({ "status": "failing", "problem": problem }),
    };
    let database_fails = database.is_err();
    checks.insert("database".to_owned(), problem(database.err().map(|e| e.to_string())));
    let broker_fails = broker.is_err();
    checks.insert("broker".to_owned(), problem(broker.err().map(|e| e.to_string())));
    let mut read_models = json!({ "status": if lagging { "failing" } else { "ok" } });
    read_models["details"] = json!(projections);
    checks.insert("projections".to_owned(), read_models);
    let providers_fail = probed.iter().any(|one| one.problem.is_some());
    let providers: Map<String, Value> =
        probed.into_iter().map(|one| (one.name, problem(one.problem))).collect();
    checks.insert("providers".to_owned(), Value::Object(providers));
    let (status, code) = if database_fails {
        ("unavailable", StatusCode::SERVICE_UNAVAILABLE)
    } else if broker_fails || lagging || providers_fail {
        ("degraded", StatusCode::OK)
    } else {
        ("ok", StatusCode::OK)
    };
    let body = json!({
        "status": status, "service": "colloquy", "version": state.version, "checks": checks,
    });
    (code, Json(body)).into_response()
}
