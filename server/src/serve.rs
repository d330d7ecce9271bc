//! `colloquy serve`: the roles of this process, from start to end.
//!
//! They end front door first and log last: HTTP and workers take nothing new and finish what
//! they have, then the relay and the projectors stop, then the connections close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{ApiState, Shared, WaitingLimits, WaitingTurns};
use broker::DeltaHub;
use domain::Causes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use workers::webhooks::Webhook;
use workers::worker::WorkerOptions;

use crate::app::{self, App};
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::error::ServerError;
use crate::health::ProviderProbe;
use crate::http;
use crate::lifecycle::Lifecycle;
use crate::roles::Role;

/// How long a start waits for the database.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a read waits for the position it asks for.
const POSITION_PATIENCE: Duration = Duration::from_secs(5);
/// Between signs of life on quiet streams.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(crate) async fn run(config: Config, args: &ServeArgs) -> Result<(), ServerError> {
    let lifecycle = Lifecycle::default();
    let grace = Duration::from_secs(config.shutdown.grace_seconds);
    tokio::spawn(lifecycle.clone().watch(grace));
    announce(&config, args);
    if !wait_for_schema(&config, &lifecycle.stopping).await? {
        return Ok(());
    }
    let process = Process::start(&config, args, &lifecycle).await?;
    if let Some(address) = process.address {
        tracing::info!("ready on http://{address}");
    }
    process.finish(&lifecycle).await
}

/// What is about to run, in one line of the log.
fn announce(config: &Config, args: &ServeArgs) {
    let listen = args.roles.contains(&Role::Api).then(|| args.listen.unwrap_or(config.http.listen));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        roles = args.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        listen = listen.map(tracing::field::display),
        "colloquy starts"
    );
}

/// Whoever issues tokens for one tenant decides who its admins are.
fn warn_of_operators(config: &Config) {
    if anybody_operates(config) {
        tracing::warn!(
            "admins of every tenant may change models, providers and prices, which all tenants \
             share; set [admin] operator_tenant to leave that to one tenant"
        );
    }
}

/// Whether admins of any tenant that a JSON Web Token may name can change what all share.
fn anybody_operates(config: &Config) -> bool {
    let has_tokens = config.auth.hs256_secret.is_some() || config.auth.jwks_url.is_some();
    has_tokens && config.admin.operator_tenant.is_none()
}

/// Waits for the database to be there; its schema has to fit at once. False if the process is
/// told to stop meanwhile.
async fn wait_for_schema(
    config: &Config,
    stopping: &CancellationToken,
) -> Result<bool, ServerError> {
    let give_up = Instant::now() + DATABASE_PATIENCE;
    let pool = app::pool(config)?;
    let check = async || {
        app::reach_database(config).await?;
        app::check_schema(&pool).await
    };
    loop {
        match stopping.run_until_cancelled(check()).await {
            None => return Ok(false),
            Some(Err(ServerError::Store(error))) if Instant::now() < give_up => {
                tracing::warn!(error = %Causes(&error), "waiting for the database");
            }
            Some(result) => {
                pool.close().await;
                return result.map(|()| true);
            }
        }
        // Not to be asked too often.
        stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
    }
}

/// The roles of this process while they run.
pub(crate) struct Process {
    pub(crate) app: App,
    /// Where HTTP is served, if it is.
    pub(crate) address: Option<SocketAddr>,
    /// HTTP and workers: end on their own once they are told to stop.
    front: JoinSet<&'static str>,
    /// Relay, projectors, hints: end when `back_stop` says so.
    back: JoinSet<&'static str>,
    back_stop: CancellationToken,
}

impl Process {
    pub(crate) async fn start(
        config: &Config,
        args: &ServeArgs,
        lifecycle: &Lifecycle,
    ) -> Result<Self, ServerError> {
        let app = App::new(config).await?;
        tracing::info!(models = app.models().join(","), "the catalog is loaded");
        let has = |role| args.roles.contains(&role);
        let (mut front, mut back) = (JoinSet::new(), JoinSet::new());
        let back_stop = CancellationToken::new();
        back.spawn(hints(app.clone(), back_stop.clone()));
        back.spawn(follow_catalog(app.clone(), back_stop.clone()));
        if has(Role::Relay) {
            back.spawn(tell(app.clone(), config.webhooks()?, back_stop.clone()));
            let (app, stop) = (app.clone(), back_stop.clone());
            back.spawn(async move {
                workers::relay::run(app.store, app.broker, app.bus, stop).await;
                "relay"
            });
        }
        if has(Role::Projector) {
            let (app, stop) = (app.clone(), back_stop.clone());
            back.spawn(async move {
                projections::run(app.store, app.broker, app.positions, stop).await;
                "projector"
            });
        }
        if has(Role::Worker) {
            front.spawn(work(app.clone(), worker_options(config, &app), lifecycle.clone()));
        }
        let mut address = None;
        if has(Role::Api) {
            warn_of_operators(config);
            let wanted = args.listen.unwrap_or(config.http.listen);
            let listener = http::listen(wanted)
                .map_err(|source| ServerError::Listen { address: wanted, source })?;
            address = listener.local_addr().ok();
            let router = api_router(config, &app, lifecycle)?;
            let stalled = Duration::from_secs(config.http.stalled_client_seconds);
            let limits = http::Limits::new(config.http.max_connections, stalled);
            front.spawn(http::serve(listener, router, limits, lifecycle.clone()));
        }
        Ok(Self { app, address, front, back, back_stop })
    }

    /// Runs until the end, and then ends in order. A role that ends by itself is a crash.
    pub(crate) async fn finish(mut self, lifecycle: &Lifecycle) -> Result<(), ServerError> {
        let crashed = tokio::select! {
            // First: a role that ends because it was told to is no crash.
            biased;
            () = lifecycle.stopping.cancelled() => None,
            Some(ended) = self.front.join_next() => {
                Some(ServerError::RoleEnded(ended.unwrap_or("HTTP or worker")))
            }
            Some(ended) = self.back.join_next() => {
                Some(ServerError::RoleEnded(ended.unwrap_or("relay or projector")))
            }
        };
        lifecycle.stopping.cancel();
        let front = async { while self.front.join_next().await.is_some() {} };
        let overdue = async {
            lifecycle.abandon.cancelled().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        tokio::select! {
            () = front => {}
            () = overdue => tracing::warn!("HTTP or workers did not end in time"),
        }
        self.back_stop.cancel();
        let back = async { while self.back.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(5), back).await.is_err() {
            tracing::warn!("relay or projectors did not stop in time");
        }
        self.app.store.close().await;
        self.app.broker.close().await;
        tracing::info!("stopped");
        crashed.map_or(Ok(()), Err)
    }
}

/// Tells the relay, wherever it is, that the log has grown.
async fn hints(app: App, stop: CancellationToken) -> &'static str {
    let mut appended = app.store.appended();
    loop {
        tokio::select! {
            () = stop.cancelled() => return "hints",
            changed = appended.changed() => {
                if changed.is_err() {
                    return "hints";
                }
                let position = *appended.borrow_and_update();
                app.broker.hint_head(position).await;
            }
        }
    }
}

/// Keeps up with what others change in the catalog.
async fn follow_catalog(app: App, stop: CancellationToken) -> &'static str {
    app.bus.catalog().follow(stop).await;
    "catalog"
}

/// Tells other systems of events.
async fn tell(app: App, webhooks: Vec<Webhook>, stop: CancellationToken) -> &'static str {
    workers::webhooks::run(app.store, webhooks, Arc::new(domain::SystemClock), stop).await;
    "webhooks"
}

fn worker_options(config: &Config, app: &App) -> WorkerOptions {
    WorkerOptions {
        id: app.worker_id.clone(),
        concurrency: config.worker.concurrency,
        delta_interval: Duration::from_millis(config.worker.delta_interval_ms),
    }
}

async fn work(app: App, options: WorkerOptions, lifecycle: Lifecycle) -> &'static str {
    let Lifecycle { stopping, abandon, .. } = lifecycle;
    let (store, bus) = (app.store, app.bus);
    workers::worker::run(store, bus, app.broker, app.providers, options, stopping, abandon).await;
    "worker"
}

fn waiting_limits(config: &Config) -> WaitingLimits {
    let queue = &config.queue;
    WaitingLimits { per_tenant: queue.max_waiting_per_tenant, in_all: queue.max_waiting }
}

fn api_router(
    config: &Config,
    app: &App,
    lifecycle: &Lifecycle,
) -> Result<axum::Router, ServerError> {
    let state = ApiState::new(Shared {
        bus: app.bus.clone(),
        store: app.store.clone(),
        broker: app.broker.clone(),
        positions: app.positions.clone(),
        hub: DeltaHub::new(app.broker.clone()),
        authenticator: app::authenticator(config, app.store.pool().clone())?,
        probe: Arc::new(ProviderProbe::new(app.bus.catalog().clone(), Arc::clone(&app.providers))),
        waiting: WaitingTurns::new(app.store.pool().clone(), waiting_limits(config)),
        on_disconnect: config.openai.on_disconnect,
        operator_tenant: config.admin.operator_tenant.clone(),
        max_body_bytes: config.http.max_body_bytes,
        request_timeout: Duration::from_secs(config.http.request_timeout_seconds),
        position_patience: POSITION_PATIENCE,
        keep_alive: KEEP_ALIVE,
        stopping: lifecycle.stopping.clone(),
        ending: lifecycle.abandon.clone(),
        farewells: lifecycle.farewells.clone(),
        version: env!("CARGO_PKG_VERSION"),
    });
    Ok(api::router(state, &config.http.cors_origins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_start_warns_where_admins_of_every_tenant_may_change_the_catalog() {
        let mut config = Config::default();
        assert!(!anybody_operates(&config), "there are no tokens");
        config.auth.jwks_url = Some("https://id.example.org/jwks.json".to_owned());
        assert!(anybody_operates(&config));
        config.auth.jwks_url = None;
        config.auth.hs256_secret = Some(Secret::from("0123456789abcdef0123456789abcdef"));
        assert!(anybody_operates(&config));
        config.admin.operator_tenant = Some("operators".parse().unwrap());
        assert!(!anybody_operates(&config));
    }
}
