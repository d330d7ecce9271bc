//! A private Postgres server.

use std::{fmt, net::Ipv4Addr, path::PathBuf, time::Duration};

use tokio::process::Command;

use crate::{
    command,
    error::LocalError,
    find, identity,
    launch::{self, Service},
    place, secret,
};
use kind::PostgresKind;
pub use options::PostgresOptions;

mod cluster;
mod kind;
mod options;

/// The database that every server has from its first start.
pub const DATABASE: &str = "colloquy";
/// The one role: it owns everything.
const USER: &str = "colloquy";
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

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
        let programs = find::postgres(options.source, &data, major, identity.as_ref()).await?;
        let password_file = home.join("password");
        let password = secret::password(&password_file, identity.as_ref())?;
        let kind = PostgresKind::new(programs, identity, options.settings);
        if major.is_none() {
            cluster::create(&kind, &home, &password_file, options.durable_setup).await?;
        }
        Ok(Self { service: Service::start(kind, home, owner).await?, password })
    }

    /// The connection URL of `database`, with the owner's name and password.
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port());
        format!("postgres://{USER}:{password}@{}:{port}/{database}", Ipv4Addr::LOCALHOST)
    }

    /// The port on 127.0.0.1; it stays the same through restarts.
    pub fn port(&self) -> u16 {
        self.service.port()
    }

    /// The major version, as in 18.
    pub fn major_version(&self) -> u32 {
        self.service.kind.major_version()
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
    pub async fn pause(&mut self) -> Result<(), LocalError> {
        self.service.pause().await
    }

    /// Ends a [`Postgres::pause`].
    ///
    /// # Errors
    /// When the server is not running.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.service.resume()
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
        f.debug_struct("Postgres").field("port", &self.port()).finish_non_exhaustive()
    }
}
