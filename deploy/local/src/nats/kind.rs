//! How NATS is run: its configuration file, its password, when it is ready.

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{error::LocalError, identity::Identity, launch::Kind, secret};

pub(super) const USER: &str = "colloquy";
/// A server that is up greets at once.
const GREETING_DEADLINE: Duration = Duration::from_millis(500);

/// The folder of JetStream's streams.
pub(super) fn store_dir(home: &Path) -> PathBuf {
    home.join("store")
}

/// How NATS is run: what a service asks for.
pub(super) struct NatsKind {
    program: PathBuf,
    /// Tells our server from one that took the port just before it.
    name: String,
    password: String,
    max_file_megabytes: u32,
    monitor: Option<u16>,
}

impl NatsKind {
    pub(super) fn new(
        program: PathBuf,
        home: &Path,
        max_file_megabytes: u32,
        monitor: Option<u16>,
    ) -> Result<Self, LocalError> {
        let name = format!("colloquy-{}", hex::encode(secret::random_bytes::<8>()?));
        let password = secret::password(&home.join("password"), None)?;
        Ok(Self { program, name, password, max_file_megabytes, monitor })
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn monitor(&self) -> Option<u16> {
        self.monitor
    }

    fn configuration(&self, home: &Path, port: u16) -> String {
        let (name, password, max_file) = (&self.name, &self.password, self.max_file_megabytes);
        let store = quoted(&store_dir(home));
        let monitor =
            self.monitor.map_or_else(String::new, |port| format!("http: \"127.0.0.1:{port}\"\n"));
        format!(
            "listen: \"127.0.0.1:{port}\"\n\
             server_name: \"{name}\"\n\
             max_payload: 8MB\n\
             logtime: true\n\
             {monitor}\
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
    let text = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
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
        timeout(GREETING_DEADLINE, greeting).await.ok().flatten().unwrap_or(false)
    }
}
