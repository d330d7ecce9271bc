//! A whole installation for a test: processes of the binary with their roles, a database, a
//! NATS of its own, and a provider.

mod builder;
mod config;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use local::{Nats, Postgres, TemporaryFolder};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::client::Client;
use crate::process::{self, Process};
use crate::provider::Provider;
use crate::proxy::Proxy;
use crate::token;

pub use builder::ClusterBuilder;

/// What stands between one node and its servers.
struct Proxies {
    nats: Proxy,
    database: Proxy,
}

/// A running installation. Its processes end when it is dropped.
pub struct Cluster {
    // Before the servers, so that they end first.
    nodes: HashMap<String, Process>,
    /// What stands between nodes and their servers, by the node's name.
    proxies: HashMap<String, Proxies>,
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
        &self.proxies[name].nats
    }

    /// Whatever stands between the node `name` and Postgres.
    pub fn database_proxy(&self, name: &str) -> &Proxy {
        &self.proxies[name].database
    }

    /// The URL of NATS, without a proxy.
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// Publishes `body` on NATS, past all nodes.
    pub async fn publish(&self, subject: &str, body: String) {
        let (credentials, address) =
            self.nats_url.trim_start_matches("nats://").split_once('@').expect("credentials");
        let (name, password) = credentials.split_once(':').expect("a password");
        let options =
            async_nats::ConnectOptions::with_user_and_password(name.into(), password.into());
        let client = options.connect(address).await.unwrap();
        client.publish(subject.to_owned(), body.into()).await.unwrap();
        client.flush().await.unwrap();
    }

    /// The names of all nodes.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.nodes.keys().cloned().collect();
        names.sort();
        names
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
        let mut command = self.cli_command(arguments);
        let run = tokio::task::spawn_blocking(move || process::run(&mut command));
        run.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The binary with `arguments`, to be run on this cluster.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = process::command(&self.binary, arguments);
        command
            .current_dir(self.folder.path())
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url);
        command
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
