//! What a test says about the cluster it wants.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use local::{DATABASE, Nats, NatsOptions, TemporaryFolder};

use super::{Cluster, config};
use crate::process::{self, Process};
use crate::provider::Provider;
use crate::proxy::Proxy;
use crate::servers;

/// Room for what the streams may reserve.
const NATS_MEGABYTES: u32 = 16 * 1024;

struct Node {
    name: String,
    roles: String,
    behind_proxy: bool,
}

/// A cluster to be started.
pub struct ClusterBuilder {
    binary: PathBuf,
    nodes: Vec<Node>,
    own_postgres: bool,
    patient: bool,
    more_config: String,
}

impl ClusterBuilder {
    pub(super) fn new(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            nodes: Vec::new(),
            own_postgres: false,
            patient: false,
            more_config: String::new(),
        }
    }

    /// Adds a process with `roles`.
    #[must_use]
    pub fn node(mut self, name: &str, roles: &str) -> Self {
        let (name, roles) = (name.to_owned(), roles.to_owned());
        self.nodes.push(Node { name, roles, behind_proxy: false });
        self
    }

    /// Adds a process that reaches NATS by a proxy, so that it can be cut off.
    #[must_use]
    pub fn node_behind_proxy(self, name: &str, roles: &str) -> Self {
        let mut builder = self.node(name, roles);
        if let Some(node) = builder.nodes.last_mut() {
            node.behind_proxy = true;
        }
        builder
    }

    /// Gives the cluster a Postgres of its own, so that it can be stopped.
    #[must_use]
    pub fn own_postgres(mut self) -> Self {
        self.own_postgres = true;
        self
    }

    /// Gives the provider all the time it wants: for tests that hold its answers back.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Adds sections to the configuration.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.more_config.push_str(toml);
        self
    }

    /// Starts it all; returns when every process that serves requests is ready.
    pub async fn start(self) -> Cluster {
        let folder = TemporaryFolder::new().unwrap();
        let provider = Provider::start();
        let options = NatsOptions::temporary(folder.path());
        let options = NatsOptions { max_file_megabytes: NATS_MEGABYTES, ..options };
        let nats = Nats::start(options).await.unwrap();
        let (postgres, database_url) = if self.own_postgres {
            let postgres = servers::postgres(folder.path()).await;
            let url = postgres.url(DATABASE);
            servers::migrate(&self.binary, &url);
            (Some(postgres), url)
        } else {
            (None, servers::database(&self.binary).await)
        };
        let config = config::toml(&provider.base_url(), self.patient, &self.more_config);
        process::write(&folder.path().join("colloquy.toml"), &config);
        let (mut nodes, mut proxies) = (HashMap::new(), HashMap::new());
        for node in &self.nodes {
            let mut nats_url = nats.url();
            if node.behind_proxy {
                let proxy = Proxy::before(nats.port());
                nats_url =
                    nats_url.replace(&format!(":{}", nats.port()), &format!(":{}", proxy.port()));
                proxies.insert(node.name.clone(), proxy);
            }
            let environment = vec![
                ("DATABASE_URL".to_owned(), database_url.clone()),
                ("NATS_URL".to_owned(), nats_url),
            ];
            let started =
                Process::serve(&self.binary, folder.path(), &node.name, &node.roles, environment);
            nodes.insert(node.name.clone(), started);
        }
        for node in nodes.values_mut() {
            node.ready().await;
        }
        let nats_url = nats.url();
        let binary = self.binary;
        Cluster { nodes, proxies, provider, nats, postgres, binary, database_url, nats_url, folder }
    }
}
