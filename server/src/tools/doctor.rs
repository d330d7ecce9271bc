//! `colloquy doctor`: looks at each dependency and names the cure.

use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use commands::CatalogHandle;
use domain::catalog::Catalog;
use domain::{Causes, SystemClock, SystemIds};
use eventstore::{EventStore, StoreError};

use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;
use crate::{app, catalog};

const PATIENCE: Duration = Duration::from_secs(8);

/// What was looked at, what is wrong, and what to do.
struct Finding {
    name: String,
    problem: Option<(String, &'static str)>,
}

pub(crate) async fn run(config: &Config) -> Result<(), ServerError> {
    // It was read: what is wrong with it was told then.
    let configuration = Finding { name: "configuration".to_owned(), problem: None };
    let mut findings = vec![configuration, database(config).await, broker(config).await];
    let known = tokio::time::timeout(PATIENCE, stored_catalog(config)).await;
    // Without a database there is still what the configuration says.
    let known = known.ok().and_then(Result::ok).unwrap_or_default();
    let catalog = catalog::foreseen(known, config);
    for (name, problem) in catalog::providers().check(&catalog).await {
        let cure = "check its base_url, its api_key_env and that it runs; or disable it \
            (PATCH /v1/admin/providers/{name})";
        let problem = problem.map(|error| (error.message, cure));
        findings.push(Finding { name: format!("provider {name}"), problem });
    }
    for finding in &findings {
        match &finding.problem {
            None => say(&format!("ok       {}", finding.name)),
            Some((problem, cure)) => {
                say(&format!("FAILING  {}: {problem}\n         cure: {cure}", finding.name));
            }
        }
    }
    let failing = findings.iter().filter(|finding| finding.problem.is_some()).count();
    if failing > 0 { Err(ServerError::Unhealthy(failing)) } else { Ok(()) }
}

async fn stored_catalog(config: &Config) -> Result<Catalog, ServerError> {
    let store = EventStore::new(app::tool_pool(config).await?);
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let current = CatalogHandle::load(store, clock, ids).await?.current();
    Ok(Catalog::clone(&current.catalog))
}

async fn database(config: &Config) -> Finding {
    let check = async {
        app::reach_database(config).await?;
        app::check_schema(&app::tool_pool(config).await?).await
    };
    let problem = match tokio::time::timeout(PATIENCE, check).await {
        Err(_) => Some(("no answer".to_owned(), "check DATABASE_URL and that Postgres runs")),
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            let cure = match &error {
                ServerError::PendingMigrations(_) => "run `colloquy migrate up`",
                ServerError::ForeignMigration(_) => "use the binary that fits the database",
                ServerError::Store(StoreError::Database { source, .. }) => refused(source),
                _ => "check DATABASE_URL and that Postgres (15 or newer) runs there",
            };
            Some((Causes(&error).to_string(), cure))
        }
    };
    Finding { name: "database".to_owned(), problem }
}

/// The cure where Postgres is there and says no.
fn refused(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.as_deref() {
        Some("28P01" | "28000") => "put the right user and password into DATABASE_URL",
        Some("3D000") => "create the database, or name another one in DATABASE_URL",
        _ => "check DATABASE_URL and that Postgres is 15 or newer",
    }
}

async fn broker(config: &Config) -> Finding {
    let check = async {
        let broker = Broker::connect(app::nats_url(config)?, "colloquy-doctor").await?;
        broker.wait_until_connected().await;
        broker.ensure_streams().await?;
        Ok::<(), ServerError>(())
    };
    let cure = "check NATS_URL and that nats-server (2.11 or newer) runs there with JetStream";
    let problem = match tokio::time::timeout(PATIENCE, check).await {
        Err(_) => Some(("no answer".to_owned(), cure)),
        Ok(result) => result.err().map(|error| (Causes(&error).to_string(), cure)),
    };
    Finding { name: "broker".to_owned(), problem }
}
