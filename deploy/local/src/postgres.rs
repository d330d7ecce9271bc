//! A private Postgres server.

use std::{
    ffi::OsString,
    fmt, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::process::Command;

use crate::{
    command,
    error::{Doing, LocalError},
    find::{self, PostgresPrograms, Source},
    identity::{self, Identity},
    launch::{self, Kind, Service},
    place, secret,
};

mod cluster;

/// The database that every server has from its first start.
pub const DATABASE: &str = "colloquy";
/// The one role: it owns everything.
const USER: &str = "colloquy";
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// How to run a private Postgres.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The data folder; Postgres uses `postgres/` in it.
    pub folder: PathBuf,
    /// More settings, as after `postgres -c`; they win over the built-in ones.
    pub settings: Vec<(String, String)>,
    /// Where the programs come from.
    pub source: Source,
    /// Whether the data is to survive a power cut right after the first start.
    durable_setup: bool,
}

impl PostgresOptions {
    /// For data that stays: found again at the next start.
    pub fn lasting(folder: impl Into<PathBuf>) -> Self {
        let settings = vec![("shared_buffers".into(), "256MB".into())];
        let source = Source::from_environment();
        Self {
            folder: folder.into(),
            settings,
            source,
            durable_setup: true,
        }
    }

    /// For a test: small and quick to set up. Commits are as durable as elsewhere.
    pub fn temporary(folder: impl Into<PathBuf>) -> Self {
        let settings = vec![("shared_buffers".into(), "64MB".into())];
        let source = Source::from_environment();
        Self {
            folder: folder.into(),
            settings,
            source,
            durable_setup: false,
        }
    }

    /// Adds a setting, as `postgres -c name=value` does.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}

/// A private Postgres server. Dropping it begins a stop; [`Postgres::stop`] also waits for it.
pub struct Postgres {
    service: Service<PostgresKind>,
    password: String,
}

impl Postgres {
    /// Starts a server on the data in the folder, which is set up when there is none. Returns
    /// when it takes connections.
    ///
    /// # Errors
    /// When there is no Postgres to be had, the folder is in use, or the server does not start.
    pub async fn start(options: PostgresOptions) -> Result<Self, LocalError> {
        let existing = options.folder.join(place::POSTGRES).join(cluster::DATA);
        let identity = identity::for_postgres(&existing)?;
        let home = place::postgres_home(&options.folder, identity.as_ref())?;
        let owner = launch::own(&home).await?;
        let data = home.join(cluster::DATA);
        let major = cluster::major_version(&data);
        let programs = find::postgres(options.source, major, identity.as_ref())
            .await
            .map_err(|error| match error {
                LocalError::DataVersion { major, .. } => LocalError::DataVersion {
                    folder: data.clone(),
                    major,
                },
                other => other,
            })?;
        let password_file = home.join("password");
        let password = secret::password(&password_file, identity.as_ref())?;
        let kind = PostgresKind {
            programs,
            identity,
            settings: options.settings,
        };
        if major.is_none() {
            cluster::create(&kind, &home, &password_file, options.durable_setup).await?;
        }
        Ok(Self {
            service: Service::start(kind, home, owner).await?,
            password,
        })
    }

    /// The connection URL of `database`, with the owner's name and password.
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port());
        format!(
            "postgres://{USER}:{password}@{}:{port}/{database}",
            Ipv4Addr::LOCALHOST
        )
    }

    /// The port on 127.0.0.1; it stays the same through restarts.
    pub fn port(&self) -> u16 {
        self.service.port()
    }

    /// The major version, as in 18.
    pub fn major_version(&self) -> u32 {
        self.service.kind.programs.major
    }

    /// The server's process id, unless it was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.service.pid()
    }

    /// The server's log file.
    pub fn log(&self) -> PathBuf {
        self.service.log()
    }

    /// Whether the server's process lives.
    pub fn is_running(&mut self) -> bool {
        self.service.is_running()
    }

    /// Stops the server: open transactions are rolled back, the data is written out. After ten
    /// seconds the server is killed instead, which costs no committed data.
    ///
    /// # Errors
    /// When even a killed server does not end.
    pub async fn stop(&mut self) -> Result<(), LocalError> {
        self.service.stop().await
    }

    /// Kills the server, as a crash of the machine would (`kill -9`).
    ///
    /// # Errors
    /// When the killed server does not end.
    pub async fn kill(&mut self) -> Result<(), LocalError> {
        self.service.kill().await
    }

    /// Starts a stopped or killed server again, on the same port and data.
    ///
    /// # Errors
    /// When the server runs, or does not start.
    pub async fn start_again(&mut self) -> Result<(), LocalError> {
        self.service.start_again().await
    }

    /// Stops the server and starts it again, on the same port and data.
    ///
    /// # Errors
    /// When the server does not stop or start.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.stop().await?;
        self.start_again().await
    }

    /// Freezes the server and all its connections: they stay open and say nothing.
    ///
    /// # Errors
    /// When the server is not running.
    pub fn pause(&mut self) -> Result<(), LocalError> {
        self.service.signal(Signal::STOP)
    }

    /// Ends a [`Postgres::pause`].
    ///
    /// # Errors
    /// When the server is not running.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.service.signal(Signal::CONT)
    }

    /// Creates a database, as a copy of `template` when one is given. Nobody may be connected to
    /// the template meanwhile.
    ///
    /// # Errors
    /// When the server refuses, as for a name that exists.
    pub async fn create_database(
        &self,
        name: &str,
        template: Option<&str>,
    ) -> Result<(), LocalError> {
        let mut command = self.client("createdb");
        if let Some(template) = template {
            command.arg("--template").arg(template);
        }
        command.args(["--", name]);
        command::run(command, COMMAND_DEADLINE).await.map(drop)
    }

    /// Drops a database and cuts the connections to it. A missing one is fine.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop_database(&self, name: &str) -> Result<(), LocalError> {
        let mut command = self.client("dropdb");
        command.args(["--if-exists", "--force", "--", name]);
        command::run(command, COMMAND_DEADLINE).await.map(drop)
    }

    /// A client program that comes with the server, told how to connect.
    fn client(&self, program: &str) -> Command {
        let mut command = self.service.kind.command(program, &self.service.home);
        command.env("PGPASSWORD", &self.password);
        command.args(["--no-password", "--host", "127.0.0.1", "--username", USER]);
        command.arg("--port").arg(self.port().to_string());
        command.arg("--maintenance-db").arg("template1");
        command
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

/// How Postgres is run: what [`Service`] asks for.
struct PostgresKind {
    programs: PostgresPrograms,
    identity: Option<Identity>,
    settings: Vec<(String, String)>,
}

impl PostgresKind {
    /// One of Postgres's own programs, run by the right user and free of outside settings.
    fn command(&self, program: &str, home: &Path) -> Command {
        let mut command = std::process::Command::new(self.programs.bin.join(program));
        command.current_dir(home).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if crate::supervise::changes_postgres(&name) {
                command.env_remove(name);
            }
        }
        if let Some(identity) = &self.identity {
            identity.apply(&mut command);
        }
        command.into()
    }
}

impl Kind for PostgresKind {
    const NAME: &'static str = "PostgreSQL";
    /// A "fast shutdown": does not wait for clients.
    const STOP_SIGNAL: &'static str = "INT";

    fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    fn prepare(&self, home: &Path, port: u16) -> Result<Vec<OsString>, LocalError> {
        // Our lock says that nobody uses the data. Postgres itself goes by the process id in this
        // file, and would refuse to start when another process has that id by now.
        let pid_file = cluster::pid_file(home);
        if pid_file.exists() {
            fs::remove_file(&pid_file).doing(|| format!("delete {}", pid_file.display()))?;
        }
        let mut line: Vec<OsString> = vec![self.programs.bin.join("postgres").into()];
        line.extend(["-D".into(), home.join(cluster::DATA).into()]);
        let fixed = cluster::SETTINGS
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let given = self
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        for setting in fixed.chain(given).chain([format!("port={port}")]) {
            line.extend(["-c".into(), setting.into()]);
        }
        Ok(line)
    }

    async fn is_ready(&self, home: &Path, pid: Pid, _port: u16) -> bool {
        cluster::is_ready(home, pid)
    }
}
