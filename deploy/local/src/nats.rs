//! A private NATS server with JetStream.

use std::{
    ffi::OsString,
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{
    error::LocalError,
    files,
    find::{self, Source},
    identity::Identity,
    launch::{self, Kind, Service},
    secret,
};

const USER: &str = "colloquy";
/// A server that is up greets at once.
const GREETING_DEADLINE: Duration = Duration::from_millis(500);

/// How to run a private NATS server.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The data folder; NATS uses `nats/` in it.
    pub folder: PathBuf,
    /// Where the program comes from.
    pub source: Source,
    /// The most that JetStream may keep on disk, in megabytes.
    pub max_file_megabytes: u32,
}

impl NatsOptions {
    /// For data that stays: found again at the next start.
    pub fn lasting(folder: impl Into<PathBuf>) -> Self {
        let source = Source::from_environment();
        Self {
            folder: folder.into(),
            source,
            max_file_megabytes: 8192,
        }
    }

    /// For a test.
    pub fn temporary(folder: impl Into<PathBuf>) -> Self {
        let source = Source::from_environment();
        Self {
            folder: folder.into(),
            source,
            max_file_megabytes: 4096,
        }
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
        let kind = NatsKind {
            program: find::nats(options.source).await?,
            name: format!("colloquy-{}", hex::encode(secret::random_bytes::<8>()?)),
            password: secret::password(&home.join("password"), None)?,
            max_file_megabytes: options.max_file_megabytes,
        };
        Ok(Self {
            service: Service::start(kind, home, owner).await?,
        })
    }

    /// The connection URL, with name and password.
    pub fn url(&self) -> String {
        let (password, port) = (&self.service.kind.password, self.port());
        format!("nats://{USER}:{password}@{}:{port}", Ipv4Addr::LOCALHOST)
    }

    /// The port on 127.0.0.1; it stays the same through restarts.
    pub fn port(&self) -> u16 {
        self.service.port()
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
            return Err(LocalError::WrongState {
                server: NatsKind::NAME,
                state: "running",
            });
        }
        files::remove(&self.store_dir())
    }

    /// Freezes the server: connections stay open and say nothing.
    ///
    /// # Errors
    /// When the server is not running.
    pub fn pause(&mut self) -> Result<(), LocalError> {
        self.service.signal(Signal::STOP)
    }

    /// Ends a [`Nats::pause`].
    ///
    /// # Errors
    /// When the server is not running.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.service.signal(Signal::CONT)
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

fn store_dir(home: &Path) -> PathBuf {
    home.join("store")
}

/// How NATS is run: what [`Service`] asks for.
struct NatsKind {
    program: PathBuf,
    /// Tells our server from one that took the port just before it.
    name: String,
    password: String,
    max_file_megabytes: u32,
}

impl NatsKind {
    fn configuration(&self, home: &Path, port: u16) -> String {
        let (name, password, max_file) = (&self.name, &self.password, self.max_file_megabytes);
        let store = quoted(&store_dir(home));
        format!(
            "listen: \"127.0.0.1:{port}\"\n\
             server_name: \"{name}\"\n\
             max_payload: 8MB\n\
             logtime: true\n\
             authorization {{ user: \"{USER}\", password: \"{password}\" }}\n\
             jetstream {{\n  \
               store_dir: {store}\n  \
               max_memory_store: 512MB\n  \
               max_file_store: {max_file}MB\n\
             }}\n"
        )
    }
}

/// A path as a string of the configuration file.
fn quoted(path: &Path) -> String {
    let text = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!("\"{text}\"")
}

impl Kind for NatsKind {
    const NAME: &'static str = "nats-server";
    const STOP_SIGNAL: &'static str = "TERM";

    fn identity(&self) -> Option<&Identity> {
        None
    }

    fn prepare(&self, home: &Path, port: u16) -> Result<Vec<OsString>, LocalError> {
        let file = home.join("nats.conf");
        secret::write_private(&file, &self.configuration(home, port))?;
        Ok(vec![self.program.clone().into(), "-c".into(), file.into()])
    }

    async fn is_ready(&self, _home: &Path, _pid: Pid, port: u16) -> bool {
        let greeting = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.ok()?;
            Some(line.starts_with("INFO ") && line.contains(&self.name))
        };
        timeout(GREETING_DEADLINE, greeting)
            .await
            .ok()
            .flatten()
            .unwrap_or(false)
    }
}
