//! `colloquy doctor`: looks at each dependency and names the cure.

use std::time::Duration;

use broker::Broker;
use domain::Causes;
use eventstore::StoreError;

use crate::app;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;

const PATIENCE: Duration = Duration::from_secs(8);

/// What was looked at, what is wrong, and what to do.
struct Finding {
    name: String,
    problem: Option<(String, &'static str)>,
}

pub(crate) async fn run(config: &Config) -> Result<(), ServerError> {
    let mut findings = vec![configuration(config), database(config).await, broker(config).await];
    if let Ok(catalog) = config.catalog() {
        for provider in catalog.providers() {
            let problem = provider.check().await.err().map(|error| {
                (error.message, "check the provider's base_url, api_key_env and that it runs")
            });
            findings.push(Finding { name: format!("provider {}", provider.name()), problem });
        }
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

fn configuration(config: &Config) -> Finding {
    let cure = "mend the [[providers]] section; colloquy.example.toml shows every key";
    let problem = config.catalog().err().map(|error| (Causes(&error).to_string(), cure));
    Finding { name: "configuration".to_owned(), problem }
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
