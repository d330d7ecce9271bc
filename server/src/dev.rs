//! `colloquy dev`: everything a newcomer needs, with nothing installed by hand.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use api::auth::{ApiKeys, KeyRequest};
use domain::{ActorRole, Causes, SystemClock, SystemIds};
use local::{Nats, NatsOptions, Postgres, PostgresOptions};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App};
use crate::cli::DevArgs;
use crate::config::{Config, Secret};
use crate::error::ServerError;
use crate::lifecycle::Lifecycle;
use crate::output::say;
use crate::roles::Role;
use crate::serve::Process;

/// A person at a terminal doesn't wait long.
const GRACE: Duration = Duration::from_secs(8);
/// How often the private servers are looked after.
const CARE: Duration = Duration::from_millis(500);

/// The private servers; none where the environment names others.
#[derive(Default)]
struct Servers {
    postgres: Option<Postgres>,
    nats: Option<Nats>,
}

pub(crate) async fn run(mut config: Config, args: DevArgs) -> Result<(), ServerError> {
    let lifecycle = Lifecycle::default();
    tokio::spawn(lifecycle.clone().watch(GRACE));
    check_address(&config, &args)?;
    let folder = &args.data_dir;
    fs::create_dir_all(folder)
        .map_err(|source| ServerError::Write { path: folder.clone(), source })?;
    let Some(starting) =
        lifecycle.stopping.run_until_cancelled(Servers::start(&mut config, folder)).await
    else {
        return Ok(());
    };
    let mut servers = starting?;
    let result = serve(&config, &args, &lifecycle, &mut servers).await;
    servers.stop().await?;
    result
}

/// Whether HTTP could be served, before the servers take their time to start.
fn check_address(config: &Config, args: &DevArgs) -> Result<(), ServerError> {
    if !args.serve.roles.contains(&Role::Api) {
        return Ok(());
    }
    let address = args.serve.listen.unwrap_or(config.http.listen);
    let listener = std::net::TcpListener::bind(address);
    listener.map(drop).map_err(|source| ServerError::Listen { address, source })
}

async fn serve(
    config: &Config,
    args: &DevArgs,
    lifecycle: &Lifecycle,
    servers: &mut Servers,
) -> Result<(), ServerError> {
    let pool = app::tool_pool(config).await?;
    eventstore::migrate_up(&pool).await?;
    keep_private(&args.data_dir.join("env"), &environment(config)?)?;
    let key = api_key(config, &pool, &args.data_dir.join("api-key")).await?;
    pool.close().await;
    let process = Process::start(config, &args.serve, lifecycle).await?;
    if let Some(address) = process.address {
        wait_until_ready(address, &lifecycle.stopping).await;
        greet(address, &key, &process.app, &args.data_dir);
    }
    let served = tokio::select! {
        served = process.finish(lifecycle) => served,
        error = servers.care() => Err(error),
    };
    lifecycle.stopping.cancel();
    served
}

impl Servers {
    async fn start(config: &mut Config, folder: &Path) -> Result<Self, ServerError> {
        let mut servers = Self::default();
        if config.database.url.is_none() {
            let postgres = Postgres::start(PostgresOptions::lasting(folder)).await?;
            config.database.url = Some(Secret::from(postgres.url(local::DATABASE).as_str()));
            servers.postgres = Some(postgres);
        }
        if config.nats.url.is_none() {
            let nats = Nats::start(NatsOptions::lasting(folder)).await?;
            config.nats.url = Some(Secret::from(nats.url().as_str()));
            servers.nats = Some(nats);
        }
        Ok(servers)
    }

    /// Starts a server again that has died; returns only if that fails.
    async fn care(&mut self) -> ServerError {
        loop {
            tokio::time::sleep(CARE).await;
            if let Some(postgres) = &mut self.postgres
                && !postgres.is_running()
            {
                tracing::warn!("Postgres is gone; it is started again");
                if let Err(error) = postgres.start_again().await {
                    return error.into();
                }
            }
            if let Some(nats) = &mut self.nats
                && !nats.is_running()
            {
                tracing::warn!("NATS is gone; it is started again");
                if let Err(error) = nats.start_again().await {
                    return error.into();
                }
            }
        }
    }

    async fn stop(mut self) -> Result<(), ServerError> {
        if let Some(nats) = &mut self.nats {
            nats.stop().await?;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop().await?;
        }
        Ok(())
    }
}

/// What other programs need to attach.
fn environment(config: &Config) -> Result<String, ServerError> {
    let database = config.database.url.as_ref().ok_or(ServerError::Missing("DATABASE_URL"))?;
    Ok(format!("DATABASE_URL={}\nNATS_URL={}\n", database.expose(), app::nats_url(config)?))
}

/// The key of the last start if it is still good, else a new one.
async fn api_key(
    config: &Config,
    pool: &eventstore::Database,
    path: &Path,
) -> Result<String, ServerError> {
    let authenticator = app::authenticator(config, pool.clone())?;
    if let Ok(kept) = fs::read_to_string(path) {
        let kept = kept.trim().to_owned();
        match authenticator.authenticate_token(&kept).await {
            Ok(_) => return Ok(kept),
            Err(error) => tracing::info!(reason = %Causes(&error), "the kept API key is replaced"),
        }
    }
    let request = KeyRequest {
        tenant_id: "dev".parse().map_err(ServerError::Id)?,
        user_id: "dev".parse().map_err(ServerError::Id)?,
        role: ActorRole::Admin,
        tier: None,
        name: "dev".to_owned(),
    };
    let key = ApiKeys::new(pool.clone()).create(&request, &SystemClock, &SystemIds).await?;
    keep_private(path, &format!("{}\n", key.secret))?;
    Ok(key.secret)
}

/// Writes a file that only its owner may read.
fn keep_private(path: &Path, text: &str) -> Result<(), ServerError> {
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| ServerError::Write { path: path.to_owned(), source })
}

async fn wait_until_ready(address: std::net::SocketAddr, stopping: &CancellationToken) {
    let url = format!("http://{address}/readyz");
    let ready = async {
        loop {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    stopping.run_until_cancelled(ready).await;
}

fn greet(address: std::net::SocketAddr, key: &str, app: &App, folder: &Path) {
    let current = app.bus.catalog().current();
    let model = current.models.default_model().map_or("demo", |model| model.name.as_str());
    say(&format!("
Colloquy is ready on http://{address}

  API key  {key}
  models   {}
  data     {}   (the key is in api-key, DATABASE_URL and NATS_URL are in env)

Talk to it:

  curl -N http://{address}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{\"model\": \"{model}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'

Ctrl-C stops everything.
", app.models().join(", "), folder.display()));
}
