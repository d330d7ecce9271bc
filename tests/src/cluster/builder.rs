//! What a test says about the cluster it wants.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use local::{DATABASE, Nats, NatsOptions, TemporaryFolder};

use super::{Cluster, Proxies, config};
use crate::process::{self, Process};
use crate::provider::Provider;
use crate::proxy::{Protocol, Proxy};
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
    monitored: bool,
    patient: bool,
    more_config: String,
}

impl ClusterBuilder {
    pub(super) fn new(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            nodes: Vec::new(),
            own_postgres: false,
            monitored: false,
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

    /// Adds a process that reaches NATS and Postgres by proxies, so that it can be cut off.
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

    /// Lets NATS tell of its connections and subscriptions.
    #[must_use]
    pub fn monitored(mut self) -> Self {
        self.monitored = true;
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
        let monitored = self.monitored;
        let options = NatsOptions { max_file_megabytes: NATS_MEGABYTES, monitored, ..options };
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
            let (mut database_url, mut nats_url) = (database_url.clone(), nats.url());
            if node.behind_proxy {
                let between = Proxies {
                    nats: by_proxy(&mut nats_url, Protocol::Nats),
                    database: by_proxy(&mut database_url, Protocol::Postgres),
                };
                proxies.insert(node.name.clone(), between);
            }
            let environment =
                vec![("DATABASE_URL".to_owned(), database_url), ("NATS_URL".to_owned(), nats_url)];
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

/// A proxy before the server of `url`, which from now on leads to the proxy.
fn by_proxy(url: &mut String, protocol: Protocol) -> Proxy {
    let (_, after) = url.rsplit_once("127.0.0.1:").expect("a server of this machine");
    let digits = after.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(after.len());
    let port = &after[..digits];
    let proxy = Proxy::before(port.parse().unwrap(), protocol);
    *url = url.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", proxy.port()));
    proxy
}
