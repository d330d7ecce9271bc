//! What is measured: servers, provider and the binary, started for this run.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local::{Nats, NatsOptions, Postgres, PostgresOptions, TemporaryFolder};
use tests::{Client, Provider};

use crate::Failure;
use crate::load::Load;

const READY: Duration = Duration::from_secs(60);
const CONFIG: &str = "colloquy.toml";
/// A model that answers as the message asks it to.
pub(crate) const SCRIPTED: &str = "scripted";

/// Everything that runs.
pub(crate) struct System {
    provider: Provider,
    process: Child,
    address: SocketAddr,
    key: String,
    tokens: u16,
    postgres: Postgres,
    nats: Nats,
    binary: PathBuf,
    folder: TemporaryFolder,
}

impl System {
    pub(crate) async fn start(binary: Option<&Path>, tokens: u16) -> Result<Self, Failure> {
        let binary = binary.map_or_else(build, |binary| Ok(binary.to_owned()))?;
        let folder = TemporaryFolder::new()?;
        // The servers' lasting settings: what a deployment has, fsync included.
        let postgres = Postgres::start(PostgresOptions::lasting(folder.path())).await?;
        let nats = Nats::start(NatsOptions::lasting(folder.path())).await?;
        let provider = Provider::start();
        std::fs::write(folder.path().join(CONFIG), configuration(&provider, tokens))?;
        let command = |arguments: &[&str]| on(&binary, arguments, &folder, &postgres, &nats);
        check(command(&["migrate", "up"]).stdout(Stdio::null()).status()?.success(), "migrate")?;
        let made = command(&["keys", "create", "--tenant", "bench", "--user", "bench"]).output()?;
        check(made.status.success(), "keys create")?;
        let key = String::from_utf8(made.stdout)?.trim().to_owned();
        let address = free_address()?;
        let process = command(&["serve", "--listen", &address.to_string()]).spawn()?;
        let system =
            Self { provider, process, address, key, tokens, postgres, nats, binary, folder };
        system.wait_until_ready().await?;
        Ok(system)
    }

    /// Asks the provider itself.
    pub(crate) fn direct(&self) -> Load {
        self.load(self.provider.address())
    }

    /// Asks through Colloquy.
    pub(crate) fn through(&self) -> Load {
        self.load(self.address)
    }

    /// The scripted provider.
    pub(crate) fn provider(&self) -> &Provider {
        &self.provider
    }

    /// A client of Colloquy.
    pub(crate) fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address), Some(self.key.clone()))
    }

    /// One more process, which does nothing but ask models.
    pub(crate) fn start_worker(&self) -> Result<Child, Failure> {
        let arguments = ["serve", "--roles", "worker"];
        let mut command = on(&self.binary, &arguments, &self.folder, &self.postgres, &self.nats);
        Ok(command.spawn()?)
    }

    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        self.process.wait()?;
        self.nats.stop().await?;
        self.postgres.stop().await?;
        Ok(())
    }

    fn load(&self, address: SocketAddr) -> Load {
        let body = serde_json::json!({
            "model": format!("bench-{}", self.tokens), "stream": true,
            "messages": [{ "role": "user", "content": "Tell me something." }],
        })
        .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let expected = Provider::bench_text(usize::from(self.tokens));
        Load { address, request: request.into_bytes().into(), expected: expected.into() }
    }

    async fn wait_until_ready(&self) -> Result<(), Failure> {
        let give_up = Instant::now() + READY;
        let url = format!("http://{}/readyz", self.address);
        // A proxy meant for the internet must not catch this.
        let http = reqwest::Client::builder().no_proxy().build()?;
        while Instant::now() < give_up {
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("Colloquy did not get ready".into())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // After an orderly stop there is nothing left to kill.
        let _ = self.process.kill();
    }
}

/// The binary with `arguments`, on these servers.
fn on(
    binary: &Path,
    arguments: &[&str],
    folder: &TemporaryFolder,
    postgres: &Postgres,
    nats: &Nats,
) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).arg("--config").arg(folder.path().join(CONFIG));
    command.env("DATABASE_URL", postgres.url(local::DATABASE)).env("NATS_URL", nats.url());
    command
}

/// Builds the release binary and tells where it is.
fn build() -> Result<PathBuf, Failure> {
    let cargo = Path::new(env!("CARGO"));
    let built = Command::new(cargo)
        .args(["build", "--release", "--package", "server", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()?;
    check(built.status.success(), "cargo build")?;
    let messages = String::from_utf8(built.stdout)?;
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    executable.ok_or_else(|| "cargo named no executable".into())
}

fn configuration(provider: &Provider, tokens: u16) -> String {
    format!(
        r#"
[log]
filter = "warn,workers::dispatch=error"

[quota]
default_tier = "unlimited"

[[providers]]
name = "scripted"
kind = "openai"
base_url = "{}"
models = [
    {{ name = "bench-{tokens}", context = 8192, max_output = 4096 }},
    {{ name = "{SCRIPTED}", context = 8192, max_output = 4096 }},
]
"#,
        provider.base_url()
    )
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn check(good: bool, what: &str) -> Result<(), Failure> {
    if good { Ok(()) } else { Err(format!("{what} failed").into()) }
}
