//! One Postgres for the whole binary, and a database for each test, with a catalog in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use commands::{Caller, CatalogHandle};
use domain::catalog::{CatalogCommand, NewPrice, ProviderKind, ProviderSpec, Seed};
use domain::prices::ANY_SERVICE;
use domain::{ModelSpec, Price, SystemIds, TenantId};
use eventstore::{Database, EventStore, PoolOptions, connect, migrate_up};
use local::{Postgres, PostgresOptions, TemporaryFolder};
use tokio::sync::OnceCell;

use crate::world::{MODEL, ManualClock, utc};

const TEMPLATE: &str = "seeded";

/// A server of a test's own, or everybody's.
pub(crate) struct Server {
    pub(crate) postgres: Postgres,
    _folder: TemporaryFolder,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

impl Server {
    /// Starts one and prepares the template.
    pub(crate) async fn start() -> Self {
        Self::start_with("fsync", "on").await
    }

    async fn start_with(setting: &str, value: &str) -> Self {
        let folder = TemporaryFolder::new().unwrap();
        let options = PostgresOptions::temporary(folder.path())
            .setting("max_connections", "200")
            .setting(setting, value);
        let postgres = Postgres::start(options).await.unwrap();
        postgres.create_database(TEMPLATE, None).await.unwrap();
        let pool = pool(&postgres.url(TEMPLATE));
        migrate_up(&pool).await.unwrap();
        let store = EventStore::new(pool.clone());
        seed(store.clone()).await;
        store.close().await;
        pool.close().await;
        Self { postgres, _folder: folder }
    }

    /// The URL of a new database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.postgres.create_database(&name, Some(TEMPLATE)).await.unwrap();
        self.postgres.url(&name)
    }
}

/// The URL of a new database.
pub(crate) async fn database() -> String {
    // Nobody stops this one, so its data needs no disk.
    SERVER.get_or_init(|| Server::start_with("fsync", "off")).await.database().await
}

/// A process' connections. A database that is gone is noticed soon.
pub(crate) fn pool(url: &str) -> Database {
    let acquire_timeout = Duration::from_secs(2);
    let options = PoolOptions { max_connections: 5, acquire_timeout, ..PoolOptions::default() };
    connect(url, &options).unwrap()
}

/// One model, whose price holds from long ago.
async fn seed(store: EventStore) {
    let price = Price {
        input_per_1k: "0.5".parse().unwrap(),
        cached_input_per_1k: None,
        output_per_1k: "1".parse().unwrap(),
    };
    let from = Some(utc("2020-01-01T00:00:00Z"));
    let seed = Seed {
        providers: vec![ProviderSpec::new("p", ProviderKind::Demo)],
        models: vec![ModelSpec::new(MODEL, "p", 8192, 1024)],
        prices: vec![NewPrice { from, ..NewPrice::new(ANY_SERVICE, MODEL, price) }],
    };
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let catalog = CatalogHandle::load(store, clock, Arc::new(SystemIds)).await.unwrap();
    let caller = Caller::system(TenantId::deployment(), "seed");
    let command = CatalogCommand::SeedCatalog { seed, prune: false };
    catalog.execute(&command, &caller).await.unwrap();
}
