//! The command line.

pub(crate) mod quota;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use domain::{SessionId, TenantId, UserId};
use eventstore::Position;
use uuid::Uuid;

use self::quota::Quota;
use crate::config::{Config, Purpose};
use crate::error::ServerError;
use crate::roles::{self, Role};
use crate::{dev, serve, telemetry, tools};

/// A self-hosted backend for AI conversations.
#[derive(Debug, Parser)]
#[command(name = "colloquy", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// The configuration file; without it, ./colloquy.toml is read if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: private Postgres and NATS, migrations, all roles, a key.
    Dev(DevArgs),
    /// Serve with the Postgres and NATS of the configuration.
    Serve(ServeArgs),
    /// Apply, take back or list the database's migrations.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(Keys),
    /// List and rebuild read models.
    #[command(subcommand)]
    Projections(Projections),
    /// Print what happened to something, and what it comes to.
    #[command(subcommand)]
    Replay(Replay),
    /// Bring providers, models and prices to what the configuration says, as each start does.
    Seed {
        /// Disable what came from the configuration and is no longer in it.
        #[arg(long)]
        prune: bool,
    },
    /// Look at users' accounts and change them.
    #[command(subcommand)]
    Quota(Quota),
    /// Check each dependency and name the cure.
    Doctor,
    /// Work with the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `colloquy serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// What this process does.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = roles::ALL)]
    pub(crate) roles: Vec<Role>,
    /// Where to serve HTTP; overrides the configuration.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `colloquy dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Where data, logs and the key are kept; found again by the next start.
    #[arg(long, value_name = "DIR", default_value = ".colloquy")]
    pub(crate) data_dir: PathBuf,
}

/// `colloquy migrate`
#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Apply what is pending.
    Up,
    /// Take back the newest migration, or all after a version. Data in them is lost.
    Down {
        /// Take back every migration after this one; 0 takes back all, and with them all data.
        #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
        to: Option<i64>,
    },
    /// List all and where each stands.
    Status,
}

/// `colloquy keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it; it is shown only this once.
    Create {
        /// The tenant it speaks for.
        #[arg(long)]
        tenant: TenantId,
        /// The user it speaks for.
        #[arg(long)]
        user: UserId,
        /// What it may do.
        #[arg(long, value_enum, default_value = "user")]
        role: KeyRole,
        /// The tier of the account that opens with the key's first use; the role's name, if none.
        #[arg(long)]
        tier: Option<String>,
        /// A name, to tell keys apart.
        #[arg(long, default_value = "key")]
        name: String,
    },
    /// List keys; their secrets can't be shown.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Revoke a key; when this returns, no process accepts it any more.
    Revoke {
        /// The key's id, as listed.
        id: Uuid,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyRole {
    /// See and change what is the user's own.
    User,
    /// See and change all of the tenant.
    Admin,
}

/// `colloquy projections`
#[derive(Debug, Subcommand)]
pub(crate) enum Projections {
    /// List the read models, how far each is, and what is parked.
    List,
    /// Build a read model anew from the log; the old one serves until the new one is ready.
    Rebuild {
        /// sessions, messages, turns, or all.
        name: String,
    },
}

/// `colloquy replay`
#[derive(Debug, Subcommand)]
pub(crate) enum Replay {
    /// A session's events and the state they fold to, as JSON.
    Session {
        /// The session.
        id: SessionId,
        /// As if nothing had happened after this position.
        #[arg(long, value_name = "POSITION")]
        as_of: Option<Position>,
    },
}

/// `colloquy config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and say what is wrong with it.
    Check,
    /// Print the configuration in force, defaults included; secrets are hidden.
    Show,
}

impl Command {
    /// How strictly the configuration is looked at.
    fn purpose(&self) -> Purpose {
        match self {
            Self::Dev(_) | Self::Serve(_) | Self::Config(ConfigCommand::Check) => Purpose::Serve,
            _ => Purpose::Tool,
        }
    }
}

impl Cli {
    pub(crate) async fn run(self) -> Result<(), ServerError> {
        let config = Config::load(self.config.as_deref(), self.command.purpose())?;
        telemetry::start(&config.log)?;
        match self.command {
            Command::Dev(args) => dev::run(config, args).await,
            Command::Serve(args) => serve::run(config, &args).await,
            Command::Migrate(command) => tools::migrate::run(&config, &command).await,
            Command::Keys(command) => tools::keys::run(&config, command).await,
            Command::Projections(command) => tools::projections::run(&config, &command).await,
            Command::Replay(Replay::Session { id, as_of }) => {
                tools::replay::session(&config, id, as_of).await
            }
            Command::Seed { prune } => tools::seed::run(&config, prune).await,
            Command::Quota(command) => tools::quota::run(&config, command).await,
            Command::Doctor => tools::doctor::run(&config).await,
            Command::Config(ConfigCommand::Check) => tools::configuration::check(&config),
            Command::Config(ConfigCommand::Show) => tools::configuration::show(&config),
        }
    }
}
