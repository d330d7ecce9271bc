//! The HTTP API: commands in, read models and streams out.
//!
//! # How to add an endpoint
//!
//! 1. Put its handler with its request and answer types into the file of its noun under
//!    `routes/`, and its path into [`router`].
//! 2. Take [`caller::Authenticated`] for who asks, [`extract::Body`], [`extract::Params`] and
//!    [`extract::PathId`] for what; return `Result<_, ApiError>`. Changes go through the
//!    command bus, reads through the projections' queries.
//! 3. Test it through the running binary, refusals included.

mod announce;
pub mod auth;
mod caller;
mod cursor;
mod error;
mod extract;
mod finished;
mod json_limits;
mod object;
mod on_disconnect;
mod openai;
mod position;
mod quota;
mod request;
mod requested;
mod routes;
mod sse;
mod state;
mod teller;
mod turn_record;
mod turn_stream;
mod waiting_turns;

pub use error::ApiError;
pub use on_disconnect::OnDisconnect;
pub use state::{ApiState, Probe, ProbeResult, Shared};
pub use waiting_turns::{WaitingLimits, WaitingTurns};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware;
use axum::routing::{get, patch, post, put};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// All routes over `state`; `cors_origins` may call them from a browser.
pub fn router(state: ApiState, cors_origins: &[String]) -> Router {
    let sessions = Router::new()
        .route("/v1/sessions", post(routes::sessions::create).get(routes::sessions::list))
        .route(
            "/v1/sessions/{id}",
            get(routes::sessions::show)
                .patch(routes::sessions::update)
                .delete(routes::sessions::delete),
        )
        .route(
            "/v1/sessions/{id}/messages",
            post(routes::messages::send)
                .get(routes::messages::list)
                .delete(routes::messages::clear),
        )
        .route("/v1/sessions/{id}/events", get(routes::session_events::follow));
    let turns = Router::new()
        .route("/v1/turns/{id}", get(routes::turns::show))
        .route("/v1/turns/{id}/stream", get(routes::turns::stream))
        .route("/v1/turns/{id}/cancel", post(routes::turns::cancel))
        .route("/v1/turns/{id}/retry", post(routes::turns::retry));
    let others = Router::new()
        .route("/v1/commands", post(routes::commands::execute))
        .route("/v1/audit/sessions/{id}", get(routes::audit::session))
        .route("/v1/audit/accounts/{user_id}", get(routes::audit::accounts::account))
        .route("/v1/chat/completions", post(openai::chat::complete))
        .route("/v1/models", get(openai::models::list))
        .route("/v1/models/{model}", get(openai::models::show))
        .route("/livez", get(routes::health::live))
        .route("/readyz", get(routes::health::ready))
        .route("/health", get(routes::health::health));
    sessions
        .merge(turns)
        .merge(catalog_routes())
        .merge(quota_routes())
        .merge(account_routes())
        .merge(others)
        .fallback(|| async { ApiError::unknown_route() })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .layer(axum::extract::DefaultBodyLimit::max(state.max_body_bytes()))
        .layer(cors(cors_origins))
        .layer(middleware::from_fn_with_state(state.clone(), request::observe))
        .with_state(state)
}

/// What all tenants share.
fn catalog_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/admin/providers",
            get(routes::admin::providers::list).post(routes::admin::providers::add),
        )
        .route(
            "/v1/admin/providers/{name}",
            get(routes::admin::providers::show).patch(routes::admin::providers::update),
        )
        .route(
            "/v1/admin/models",
            get(routes::admin::models::list).post(routes::admin::models::add),
        )
        .route(
            "/v1/admin/models/{name}",
            get(routes::admin::models::show).patch(routes::admin::models::update),
        )
        .route(
            "/v1/admin/prices",
            get(routes::admin::prices::list).post(routes::admin::prices::set),
        )
}

/// What users ask of their own account.
fn quota_routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/quota", get(routes::quota::show))
        .route("/v1/quota/consume", post(routes::quota::consume))
        .route("/v1/quota/transactions", get(routes::quota::transactions))
        .route("/v1/quota/statistics", get(routes::usage::statistics))
        .route("/v1/usage", get(routes::usage::usage))
}

/// What admins do to accounts.
fn account_routes() -> Router<ApiState> {
    use routes::admin::accounts;
    let of = |path: &str| format!("/v1/admin/accounts/{{user_id}}{path}");
    Router::new()
        .route("/v1/admin/accounts", get(accounts::list).post(accounts::open))
        .route(&of(""), get(accounts::show))
        .route(&of("/tier"), put(accounts::change_tier).post(accounts::change_tier))
        .route(&of("/limits"), patch(accounts::override_limits))
        .route(&of("/recharge"), post(accounts::recharge))
        .route(&of("/suspend"), post(accounts::suspend))
        .route(&of("/activate"), post(accounts::activate))
        .route(&of("/reset"), post(accounts::reset))
        .route(&of("/adjust"), post(accounts::adjust))
        .route(&of("/transactions"), get(accounts::transactions))
        .route(&of("/statistics"), get(accounts::statistics))
        .route("/v1/admin/tiers", get(routes::admin::tiers::list))
}

fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let exposed = [
        position::POSITION,
        request::REQUEST_ID,
        routes::SESSION_ID,
        routes::TURN_ID,
        routes::MESSAGE_ID,
        HeaderName::from_static("retry-after"),
    ];
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("last-event-id"),
            caller::IDEMPOTENCY_KEY,
            on_disconnect::ON_DISCONNECT,
            request::REQUEST_ID,
        ])
        .expose_headers(exposed.into_iter().chain(quota::headers::names()).collect::<Vec<_>>())
        .max_age(std::time::Duration::from_secs(3600))
}
