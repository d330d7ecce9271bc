//! What is harmed: two processes of each role, a Postgres and a NATS of their own, two providers,
//! and a proxy between every process and each of its servers.

mod config;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, Executor};

use crate::cluster::Cluster;
use crate::provider::{Call, Provider};
use crate::proxy::Proxy;
use crate::token;
use crate::wait::eventually;

use super::check::levels::Levels;
use super::fault::Loss;

/// The processes that serve requests.
pub const APIS: [&str; 2] = ["api-1", "api-2"];
/// The processes that work on turns.
pub const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// The processes that publish the log, of which one leads.
pub const RELAYS: [&str; 2] = ["relay-1", "relay-2"];
/// The processes that keep the read models.
pub const PROJECTORS: [&str; 2] = ["projector-1", "projector-2"];

/// The tenant whose users have little.
pub const LIMITED: &str = "limited";
/// All that a user of the limited tenant may ever use.
pub const LIMIT: i64 = 4000;

/// The model that most users talk to.
pub const PLAIN: &str = "scripted";
/// One whose provider goes on from what was said, where an attempt was lost.
pub const CONTINUED: &str = "continued";
/// One whose provider is asked once, and then the plain model's in its stead.
pub const BACKED: &str = "backed";

/// A restart, with room for a busy machine.
const RESTART: Duration = Duration::from_secs(60);

/// A running installation.
pub struct World {
    /// Its processes and servers.
    pub cluster: Cluster,
    /// The provider of the models that have not the plain one's.
    pub second: Provider,
    /// A way to the database that no fault stands in.
    pub pool: PgPool,
    /// What it held when it was at rest for the first time.
    pub at_rest: Option<Levels>,
    /// How many scenarios it has been through.
    pub rounds: u32,
    /// What was done to it in this round, and when.
    pub diary: Diary,
    /// The processes that were frozen, by their ids: each may have asked a provider again whom it
    /// didn't hear.
    pub frozen: BTreeSet<u32>,
    /// The workers that were lost in this round with turns in their hands.
    pub losses: Vec<Loss>,
}

impl World {
    /// Starts one.
    pub async fn start(binary: &Path) -> Self {
        let mut builder = Cluster::builder(binary).own_postgres().monitored();
        let second = Provider::start();
        builder = builder.config(&config::toml(&second));
        let kinds =
            [(APIS, "api"), (WORKERS, "worker"), (RELAYS, "relay"), (PROJECTORS, "projector")];
        for (names, role) in kinds {
            for name in names {
                builder = builder.node_behind_proxy(name, role);
            }
        }
        let cluster = builder.start().await;
        let options = PgPoolOptions::new().max_connections(4).min_connections(0);
        let pool = options.connect(cluster.database_url()).await.unwrap();
        Self {
            cluster,
            second,
            pool,
            at_rest: None,
            rounds: 0,
            diary: Diary::default(),
            frozen: BTreeSet::new(),
            losses: Vec::new(),
        }
    }

    /// What both providers were asked, by their own account.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = self.cluster.provider.calls("");
        calls.extend(self.second.calls(""));
        calls
    }

    /// The URLs of the nodes that serve requests.
    pub fn bases(&self) -> Vec<String> {
        APIS.map(|name| self.cluster.base(name)).to_vec()
    }

    /// A client for an admin of `tenant`.
    pub fn admin(&self, tenant: &str) -> crate::Client {
        let token = token::with_role(tenant, "olga", "admin");
        crate::Client::new(self.cluster.base(APIS[0]), Some(token))
    }

    /// A connection to the database which is not of the pool.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options: PgConnectOptions = self.cluster.database_url().parse()?;
        PgConnection::connect_with(&options.application_name("suite")).await
    }

    /// Runs a statement on a connection of its own.
    pub async fn execute(&self, statement: &str) -> Result<(), sqlx::Error> {
        self.connect().await?.execute(statement).await.map(drop)
    }

    /// The end of the log.
    pub async fn head(&self) -> i64 {
        let head = "SELECT coalesce(max(position), 0) FROM events";
        sqlx::query_scalar(head).fetch_one(&self.pool).await.unwrap()
    }

    /// The proxies of the node `name`: before NATS, before Postgres.
    pub fn proxies(&self, name: &str) -> [&Proxy; 2] {
        [self.cluster.proxy(name), self.cluster.database_proxy(name)]
    }

    /// Writes down what is done to it now.
    pub fn note(&self, what: &str) {
        self.diary.note(what);
    }

    /// Ends every fault: processes and servers run, connections pass, settings are as before.
    pub async fn heal(&mut self) {
        self.note("heal");
        let names = self.cluster.names();
        for name in &names {
            for proxy in self.proxies(name) {
                proxy.pass();
            }
        }
        if !self.cluster.nats.is_running() {
            self.cluster.nats.start_again().await.unwrap();
        }
        let postgres = self.cluster.postgres.as_mut().expect("a Postgres of its own");
        if !postgres.is_running() {
            postgres.start_again().await.unwrap();
        }
        eventually("Postgres takes connections", RESTART, async || self.connect().await.is_ok())
            .await;
        self.execute("ALTER SYSTEM RESET ALL").await.unwrap();
        self.execute("SELECT pg_reload_conf()").await.unwrap();
        for name in &names {
            let node = self.cluster.node(name);
            if node.is_running() {
                node.signal("CONT");
            } else {
                // It may have ended by itself.
                node.kill();
                node.start();
            }
        }
        for name in APIS {
            self.cluster.node(name).ready().await;
        }
    }
}

/// What was done, and when.
#[derive(Debug)]
pub struct Diary {
    began: Instant,
    entries: Mutex<Vec<String>>,
}

impl Default for Diary {
    fn default() -> Self {
        Self { began: Instant::now(), entries: Mutex::default() }
    }
}

impl Diary {
    fn note(&self, what: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(format!("{at:.2} {what}"));
    }

    /// All of it.
    pub fn read(&self) -> String {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).join(", ")
    }
}

/// One of `names`.
pub fn any(dice: &mut StdRng, names: &[&'static str]) -> &'static str {
    names.choose(dice).copied().expect("a name")
}
