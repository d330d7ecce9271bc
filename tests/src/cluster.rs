//! A whole installation for a test: processes of the binary with their roles, a database, a
//! NATS of its own, and a provider.

mod builder;
mod config;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use local::{Nats, Postgres, TemporaryFolder};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::client::Client;
use crate::process::{self, Process};
use crate::provider::Provider;
use crate::proxy::Proxy;
use crate::token;

pub use builder::ClusterBuilder;

/// A running installation. Its processes end when it is dropped.
pub struct Cluster {
    // Before the servers, so that they end first.
    nodes: HashMap<String, Process>,
    /// The proxies between nodes and NATS, by the node's name.
    proxies: HashMap<String, Proxy>,
    /// The scripted provider.
    pub provider: Provider,
    /// The NATS server.
    pub nats: Nats,
    /// The Postgres server, if the cluster has one of its own.
    pub postgres: Option<Postgres>,
    binary: PathBuf,
    database_url: String,
    nats_url: String,
    folder: TemporaryFolder,
}

impl Cluster {
    /// Begins a cluster of processes of `binary`.
    pub fn builder(binary: impl AsRef<Path>) -> ClusterBuilder {
        ClusterBuilder::new(binary.as_ref())
    }

    /// The node called `name`.
    pub fn node(&mut self, name: &str) -> &mut Process {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Whatever stands between the node `name` and NATS.
    pub fn proxy(&self, name: &str) -> &Proxy {
        &self.proxies[name]
    }

    /// The URL of the node called `name`.
    pub fn base(&self, name: &str) -> String {
        self.nodes.get(name).unwrap_or_else(|| panic!("no node {name}")).base()
    }

    /// A client of the node `name` for a user with a token.
    pub fn client(&self, name: &str, tenant: &str, user: &str) -> Client {
        Client::new(self.base(name), Some(token::user(tenant, user)))
    }

    /// The database's URL.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A few connections to the database.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(2).connect(&self.database_url).await.unwrap()
    }

    /// Runs the binary with `arguments` on this cluster; tells what it printed.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        let mut command = process::command(&self.binary, arguments);
        command
            .current_dir(self.folder.path())
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url);
        let run = tokio::task::spawn_blocking(move || process::run(&mut command));
        run.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The files of this cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The URL of an empty database on the tests' Postgres.
pub async fn empty_database(binary: &Path) -> String {
    crate::servers::empty_database(binary).await
}

/// Runs the binary with `arguments` and `environment`; tells what it printed, or its error
/// output if it failed.
///
/// # Errors
/// When the command fails.
pub fn try_cli(
    binary: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<String, String> {
    let mut command = process::command(binary, arguments);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
