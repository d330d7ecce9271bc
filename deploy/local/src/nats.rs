//! A private NATS server with JetStream.

use std::{fmt, net::Ipv4Addr, path::PathBuf};

use crate::{
    error::LocalError,
    files,
    find::{self, Source},
    launch::{self, Kind, Service},
    ports,
};
use kind::{NatsKind, USER, store_dir};

mod kind;

/// How to run a private NATS server.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The data folder; NATS uses `nats/` in it.
    pub folder: PathBuf,
    /// Where the program comes from.
    pub source: Source,
    /// The most that JetStream may keep on disk, in megabytes.
    pub max_file_megabytes: u32,
    /// Whether the server tells of its connections by HTTP, to anybody on this machine.
    pub monitored: bool,
}

impl NatsOptions {
    /// For data that stays: found again at the next start.
    pub fn lasting(folder: impl Into<PathBuf>) -> Self {
        let source = Source::from_environment();
        Self { folder: folder.into(), source, max_file_megabytes: 8192, monitored: false }
    }

    /// For a test.
    pub fn temporary(folder: impl Into<PathBuf>) -> Self {
        let source = Source::from_environment();
        Self { folder: folder.into(), source, max_file_megabytes: 4096, monitored: false }
    }
}

/// A private NATS server. Dropping it begins a stop; [`Nats::stop`] also waits for it.
pub struct Nats {
    service: Service<NatsKind>,
}

impl Nats {
    /// Starts a server on the store in the folder, which is made when there is none. Returns when
    /// it takes connections.
    ///
    /// # Errors
    /// When there is no nats-server to be had, the folder is in use, or it does not start.
    pub async fn start(options: NatsOptions) -> Result<Self, LocalError> {
        let home = options.folder.join("nats");
        files::create_private(&home)?;
        let home = std::path::absolute(&home).unwrap_or(home);
        let owner = launch::own(&home).await?;
        let program = find::nats(options.source).await?;
        let monitor = options.monitored.then(ports::free).transpose()?;
        let kind = NatsKind::new(program, &home, options.max_file_megabytes, monitor)?;
        Ok(Self { service: Service::start(kind, home, owner).await? })
    }

    /// The connection URL, with name and password. Mind that the Rust client leaves them out
    /// unless they are also given as its options.
    pub fn url(&self) -> String {
        let (password, port) = (self.service.kind.password(), self.port());
        format!("nats://{USER}:{password}@{}:{port}", Ipv4Addr::LOCALHOST)
    }

    /// The port on 127.0.0.1; it stays the same through restarts.
    pub fn port(&self) -> u16 {
        self.service.port()
    }

    /// The URL where a server that was asked to tells of its connections.
    pub fn monitor_url(&self) -> Option<String> {
        let port = self.service.kind.monitor()?;
        Some(format!("http://{}:{port}", Ipv4Addr::LOCALHOST))
    }

    /// The server's process id, unless it was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.service.pid()
    }

    /// The server's log file.
    pub fn log(&self) -> PathBuf {
        self.service.log()
    }

    /// The folder of JetStream's streams.
    pub fn store_dir(&self) -> PathBuf {
        store_dir(&self.service.home)
    }

    /// Whether the server's process lives.
    pub fn is_running(&mut self) -> bool {
        self.service.is_running()
    }

    /// Stops the server in good order, after ten seconds by force.
    ///
    /// # Errors
    /// When even a killed server does not end.
    pub async fn stop(&mut self) -> Result<(), LocalError> {
        self.service.stop().await
    }

    /// Kills the server, as a crash would (`kill -9`).
    ///
    /// # Errors
    /// When the killed server does not end.
    pub async fn kill(&mut self) -> Result<(), LocalError> {
        self.service.kill().await
    }

    /// Starts a stopped or killed server again, on the same port and store.
    ///
    /// # Errors
    /// When the server runs, or does not start.
    pub async fn start_again(&mut self) -> Result<(), LocalError> {
        self.service.start_again().await
    }

    /// Stops the server and starts it again, on the same port and store.
    ///
    /// # Errors
    /// When the server does not stop or start.
    pub async fn restart(&mut self) -> Result<(), LocalError> {
        self.stop().await?;
        self.start_again().await
    }

    /// Deletes all streams of a stopped or killed server.
    ///
    /// # Errors
    /// When the server runs, or the files cannot be deleted.
    pub fn delete_store(&mut self) -> Result<(), LocalError> {
        if self.is_running() {
            return Err(LocalError::WrongState { server: NatsKind::NAME, state: "running" });
        }
        files::remove(&self.store_dir())
    }

    /// Freezes the server: connections stay open and say nothing.
    ///
    /// # Errors
    /// When the server is not running.
    pub async fn pause(&mut self) -> Result<(), LocalError> {
        self.service.pause().await
    }

    /// Ends a [`Nats::pause`].
    ///
    /// # Errors
    /// When the server is not running.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.service.resume()
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("port", &self.port()).finish_non_exhaustive()
    }
}
