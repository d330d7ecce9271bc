//! Why a command of the binary failed. Each message tells the cure where there is one.

use std::path::PathBuf;

use eventstore::StoreError;

use crate::config::ConfigError;

/// The binary's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the catalog can't be brought to what the configuration says")]
    Catalog(#[from] commands::CommandError),
    #[error(
        "{0} is not set: put it into the environment or the configuration, or use `colloquy dev`"
    )]
    Missing(&'static str),
    #[error("an id can't be used")]
    Id(#[source] domain::InvalidId),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
    #[error("tokens can't be checked")]
    Auth(#[from] api::auth::AuthConfigError),
    #[error("the API key could not be handled")]
    Key(#[from] api::auth::ApiKeyError),
    #[error("{} of the database's migrations are pending; run `colloquy migrate up`", .0)]
    PendingMigrations(usize),
    #[error(
        "migration {0} in the database is not the one of this binary; is it an older or newer build?"
    )]
    ForeignMigration(i64),
    #[error(
        "can't listen on {address}; is another process there? (--listen chooses another address)"
    )]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the private servers failed")]
    Local(#[from] local::LocalError),
    #[error("{} can't be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the role {0} ended by itself")]
    RoleEnded(&'static str),
    #[error("the log filter {0:?} can't be read")]
    Filter(String),
    #[error(transparent)]
    Quota(#[from] crate::tools::quota::QuotaError),
    #[error(transparent)]
    Projection(#[from] projections::UnknownReadModel),
    #[error("a projection could not be rebuilt")]
    Rebuild(#[from] projections::RebuildError),
    #[error("there is no session {0}")]
    NoSession(domain::SessionId),
    #[error("there is no key {0}")]
    NoKey(uuid::Uuid),
    #[error("the result can't be printed")]
    Print(#[from] serde_json::Error),
    #[error("{0} of the checks failed")]
    Unhealthy(usize),
}
