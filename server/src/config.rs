//! The configuration: one TOML file, overridden by the environment.
//!
//! Later sources win: the defaults, the file, `DATABASE_URL` and `NATS_URL`, and then
//! `COLLOQUY_<SECTION>__<KEY>`. A key that nobody knows is refused, since it is most often a
//! typing error whose default would be used in silence. `colloquy.example.toml` shows
//! every key.

mod attempts;
mod environment;
mod error;
mod providers;
mod quota;
mod read;
mod secret;
mod sections;
mod validate;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::InvalidId;
use domain::catalog::{NewPrice, Seed};
use domain::quota::QuotaPolicy;
use serde::{Deserialize, Serialize};

pub(crate) use attempts::Attempts;
pub(crate) use environment::Environment;
pub(crate) use error::ConfigError;
pub(crate) use providers::ProviderConfig;
pub(crate) use quota::{Quota, Tiers};
pub(crate) use secret::Secret;
pub(crate) use sections::{
    Admin, Auth, Database, Http, Log, LogFormat, Nats, OpenAi, Queue, Shutdown, Worker,
};
pub(crate) use webhooks::Webhook;

/// The file that is read, if it is there, when none is named.
const DEFAULT_FILE: &str = "colloquy.toml";

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve: everything that serving needs must be good.
    Serve,
    /// For a tool that asks no provider, hence needs none of their keys.
    Tool,
}

/// Everything that a deployment may set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The HTTP server.
    pub(crate) http: Http,
    /// The OpenAI-compatible routes.
    pub(crate) openai: OpenAi,
    /// Turns that wait.
    pub(crate) queue: Queue,
    /// Postgres.
    pub(crate) database: Database,
    /// NATS.
    pub(crate) nats: Nats,
    /// Which JSON Web Tokens are accepted.
    pub(crate) auth: Auth,
    /// The LLM worker.
    pub(crate) worker: Worker,
    /// How often a turn is tried.
    pub(crate) attempts: Attempts,
    /// How the process ends.
    pub(crate) shutdown: Shutdown,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// Who may change what all tenants share.
    pub(crate) admin: Admin,
    /// What users may use.
    pub(crate) quota: Quota,
    /// Sets of limits by name.
    pub(crate) tiers: Tiers,
    /// Where answers come from; the built-in demo if none is named.
    pub(crate) providers: Vec<ProviderConfig>,
    /// What their models cost.
    pub(crate) prices: Vec<NewPrice>,
    /// Who is told of what.
    pub(crate) webhooks: Vec<Webhook>,
}

impl Config {
    /// The configuration of this process. The file at `path` must exist; without a path,
    /// `colloquy.toml` in the working directory is read if it is there.
    pub(crate) fn load(path: Option<&Path>, purpose: Purpose) -> Result<Self, ConfigError> {
        Self::load_from(path, Path::new("."), &Environment::of_process(), purpose)
    }

    fn load_from(
        path: Option<&Path>,
        directory: &Path,
        environment: &Environment,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => Some(path.to_path_buf()),
            None => default_file(directory),
        };
        let text = file.as_deref().map(read::file).transpose()?;
        let name = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        read::config(&name, text.as_deref().unwrap_or_default(), environment, purpose)
    }

    /// The rules for accounts. What loading has let through is good.
    pub(crate) fn quota_policy(&self) -> Result<Arc<QuotaPolicy>, InvalidId> {
        quota::policy(&self.quota, &self.tiers)
    }

    /// The webhooks. What loading has let through is good.
    pub(crate) fn webhooks(&self) -> Result<Vec<workers::webhooks::Webhook>, ConfigError> {
        let build = |webhook: &Webhook| webhook.build();
        let problem = |(key, what)| ConfigError::Invalid(vec![format!("webhooks: {key} {what}")]);
        self.webhooks.iter().map(build).collect::<Result<_, _>>().map_err(problem)
    }

    /// What the catalog is seeded with.
    pub(crate) fn seed(&self) -> Seed {
        providers::seed(&self.providers, &self.prices)
    }
}

fn default_file(directory: &Path) -> Option<PathBuf> {
    let here = directory == Path::new(".");
    let file = if here { PathBuf::from(DEFAULT_FILE) } else { directory.join(DEFAULT_FILE) };
    file.exists().then_some(file)
}

#[cfg(test)]
mod tests;
