//! The parts that roles share, made from the configuration.

use std::sync::Arc;
use std::time::Duration;

use api::auth::{ApiKeys, AuthConfig, Authenticator, JwksConfig, JwtConfig, SharedSecret};
use broker::Broker;
use commands::CommandBus;
use domain::{Ids, SystemClock, SystemIds, WorkerId};
use eventstore::{Database, EventStore, Migration, MigrationState, PoolOptions, StoreError};
use projections::Positions;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use workers::catalog::Providers;

use crate::catalog;
use crate::config::{Config, Environment, Secret};
use crate::error::ServerError;

/// How long one connection to the database may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a tool tries to connect, as the database may just be starting.
const TOOL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a start waits for NATS.
const BROKER_PATIENCE: Duration = Duration::from_secs(2);

/// What every role may need.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: EventStore,
    pub(crate) broker: Broker,
    pub(crate) bus: CommandBus,
    pub(crate) providers: Arc<Providers>,
    pub(crate) positions: Positions,
    pub(crate) worker_id: WorkerId,
}

impl App {
    /// Connects; NATS may come up later.
    pub(crate) async fn new(config: &Config) -> Result<Self, ServerError> {
        let worker_id = worker_id(config)?;
        let store = EventStore::new(pool(config)?);
        let (catalog, _) = catalog::seeded(&store, config, false).await?;
        let broker = Broker::connect(nats_url(config)?, worker_id.as_str()).await?;
        // Usually it is there, and the first streams are live; it may also come later.
        let connected = broker.wait_until_connected();
        if tokio::time::timeout(BROKER_PATIENCE, connected).await.is_err() {
            tracing::warn!("NATS can't be reached yet; starting without it");
        }
        let bus = CommandBus::new(
            store.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemIds),
            catalog,
            config.quota_policy().map_err(ServerError::Id)?,
        )
        .with_attempt_limits((&config.attempts).into());
        let providers = Arc::new(catalog::providers());
        let positions = Positions::new(store.pool().clone());
        Ok(Self { store, broker, bus, providers, positions, worker_id })
    }
}

impl App {
    /// The names of the models on offer, in order.
    pub(crate) fn models(&self) -> Vec<String> {
        let current = self.bus.catalog().current();
        current.models.enabled().map(|model| model.name.clone()).collect()
    }
}

/// A pool for serving: no statement takes long.
pub(crate) fn pool(config: &Config) -> Result<Database, ServerError> {
    let options = PoolOptions {
        max_connections: config.database.max_connections,
        statement_timeout: Duration::from_millis(config.database.statement_timeout_ms),
        ..PoolOptions::default()
    };
    Ok(eventstore::connect(database_url(config)?, &options)?)
}

/// Connects once, past any pool: a pool that can't connect only says that its time is over.
pub(crate) async fn reach_database(config: &Config) -> Result<(), ServerError> {
    let url = database_url(config)?;
    let connect = async { PgConnection::connect(url).await?.close().await };
    let reached = timeout(CONNECT_PATIENCE, connect).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer")))
    });
    Ok(reached.map_err(|source| StoreError::from_sqlx("connect", source))?)
}

/// A pool for tools, once the database is there: few connections, and statements may take
/// their time.
pub(crate) async fn tool_pool(config: &Config) -> Result<Database, ServerError> {
    let give_up = Instant::now() + TOOL_PATIENCE;
    while let Err(error) = reach_database(config).await {
        let may_pass = matches!(error, ServerError::Store(StoreError::Unavailable { .. }));
        if !may_pass || Instant::now() >= give_up {
            return Err(error);
        }
        sleep(Duration::from_millis(250)).await;
    }
    let options = PoolOptions {
        max_connections: 4,
        statement_timeout: Duration::from_secs(3600),
        ..PoolOptions::default()
    };
    Ok(eventstore::connect(database_url(config)?, &options)?)
}

/// A pool for what is only made, not used.
pub(crate) fn unconnected_pool() -> Result<Database, ServerError> {
    Ok(eventstore::connect("postgres://localhost", &PoolOptions::default())?)
}

fn database_url(config: &Config) -> Result<&str, ServerError> {
    let url = config.database.url.as_ref();
    url.map(Secret::expose).ok_or(ServerError::Missing("DATABASE_URL"))
}

pub(crate) fn nats_url(config: &Config) -> Result<&str, ServerError> {
    let url = config.nats.url.as_ref();
    url.map(Secret::expose).ok_or(ServerError::Missing("NATS_URL"))
}

/// The configured name, or the host's, with what no other process ever has: what one has begun
/// must not look like another one's, not even like that of the same process started again.
pub(crate) fn worker_id(config: &Config) -> Result<WorkerId, ServerError> {
    let name = match &config.worker.id {
        Some(id) => id.clone(),
        None => {
            let host = Environment::of_process().get("HOSTNAME").unwrap_or("worker").to_owned();
            format!("{host}-{}", std::process::id())
        }
    };
    // What follows the time in it.
    let unique: String = SystemIds.next().simple().to_string().chars().skip(20).collect();
    WorkerId::try_from(format!("{name}-{unique}")).map_err(ServerError::Id)
}

pub(crate) fn authenticator(config: &Config, pool: Database) -> Result<Authenticator, ServerError> {
    let auth = &config.auth;
    let secret = auth.hs256_secret.as_ref().map(|secret| secret.expose().to_owned());
    let secret = secret.map(SharedSecret::new).transpose()?;
    let jwks = auth.jwks_url.as_ref().map(JwksConfig::new);
    let jwt = (secret.is_some() || jwks.is_some()).then(|| JwtConfig {
        secret,
        jwks,
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        leeway: Duration::from_secs(auth.leeway_seconds),
    });
    Ok(Authenticator::new(AuthConfig { jwt }, ApiKeys::new(pool), Arc::new(SystemClock))?)
}

/// The database must have exactly the schema that this binary was built for.
pub(crate) async fn check_schema(pool: &Database) -> Result<(), ServerError> {
    let migrations = eventstore::migrations(pool).await?;
    let foreign =
        |one: &&Migration| matches!(one.state, MigrationState::Differs | MigrationState::Unknown);
    if let Some(foreign) = migrations.iter().find(foreign) {
        return Err(ServerError::ForeignMigration(foreign.version));
    }
    let pending = migrations.iter().filter(|one| one.state == MigrationState::Pending).count();
    if pending > 0 { Err(ServerError::PendingMigrations(pending)) } else { Ok(()) }
}
