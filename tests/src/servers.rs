//! The Postgres that the tests of a binary share: one server, a database for each cluster, made
//! from one that was migrated once.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use local::{Postgres, PostgresOptions, TemporaryFolder};
use tokio::sync::OnceCell;

use crate::process;

const TEMPLATE: &str = "migrated";

struct Shared {
    postgres: Postgres,
    _folder: TemporaryFolder,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// A small Postgres of its own in `folder`, with room for many processes.
pub(crate) async fn postgres(folder: &Path) -> Postgres {
    let options = PostgresOptions::temporary(folder).setting("max_connections", "400");
    Postgres::start(options).await.unwrap()
}

async fn shared(binary: &Path) -> &'static Shared {
    let start = async || {
        let folder = TemporaryFolder::new().unwrap();
        let postgres = postgres(folder.path()).await;
        postgres.create_database(TEMPLATE, None).await.unwrap();
        migrate(binary, &postgres.url(TEMPLATE));
        Shared { postgres, _folder: folder }
    };
    SHARED.get_or_init(start).await
}

/// The URL of a new, migrated database on the shared server.
pub(crate) async fn database(binary: &Path) -> String {
    new_database(binary, Some(TEMPLATE)).await
}

/// The URL of a new, empty database on the shared server.
pub(crate) async fn empty_database(binary: &Path) -> String {
    new_database(binary, None).await
}

async fn new_database(binary: &Path, template: Option<&str>) -> String {
    let shared = shared(binary).await;
    let name = format!("cluster_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    shared.postgres.create_database(&name, template).await.unwrap();
    shared.postgres.url(&name)
}

/// Runs `colloquy migrate up` on the database at `url`.
pub(crate) fn migrate(binary: &Path, url: &str) {
    process::run(process::command(binary, &["migrate", "up"]).env("DATABASE_URL", url));
}
