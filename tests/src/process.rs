//! One process of the binary: started, watched, killed, stopped, started again.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::wait::{eventually, found};

/// From start to ready, with room for a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when a test fails.
const SHOWN: usize = 60;
/// Ports below the range that outgoing connections take theirs from.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A process of the binary that serves roles.
pub struct Process {
    name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    address: SocketAddr,
    log: PathBuf,
    running: Option<Running>,
    is_api: bool,
}

/// The child, and a small helper that ends it should this process be killed.
struct Running {
    child: Child,
    guard: Child,
    _lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `colloquy serve` with `roles` and the configuration file `config`.
    pub fn serve(
        binary: &Path,
        folder: &Path,
        name: &str,
        roles: &str,
        environment: Vec<(String, String)>,
    ) -> Self {
        let address = free_address();
        let config = folder.join("colloquy.toml");
        let arguments = [
            "serve",
            "--config",
            config.to_str().unwrap(),
            "--roles",
            roles,
            "--listen",
            &address.to_string(),
        ];
        let mut process = Self {
            name: name.to_owned(),
            binary: binary.to_owned(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment,
            address,
            log: folder.join(format!("{name}.log")),
            running: None,
            is_api: roles.split(',').any(|role| role == "api"),
        };
        process.start();
        process
    }

    /// Starts the ended process again, with the same arguments.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let child = command(&self.binary, &arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        let mut guard = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$0\" 2>/dev/null", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = guard.stdin.take();
        self.running = Some(Running { child, guard, _lifeline: lifeline });
    }

    /// Waits until requests are served, if this process serves any.
    pub async fn ready(&mut self) {
        if !self.is_api {
            return;
        }
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/readyz", self.base());
        let what = format!("{} is ready", self.name);
        eventually(&what, READY, async || {
            assert!(self.is_running(), "{} has ended; its log:\n{}", self.name, self.log_tail());
            http.get(&url).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
    }

    /// The URL before a route's path.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running process").child.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.child.kill());
            running.finish();
        }
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, signal: &str) {
        run(Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]));
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let running = self.running.as_mut().expect("a running process");
        let status = found(&what, deadline, async || running.child.try_wait().unwrap()).await;
        if let Some(running) = self.running.take() {
            running.finish();
        }
        status
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Running {
    /// Collects what is left of an ended child and its guard.
    fn finish(mut self) {
        drop(self.child.wait());
        drop(self.guard.kill());
        drop(self.guard.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the last of {}'s log ---\n{}", self.name, self.log_tail());
        }
    }
}

/// The binary with `arguments`, in an environment without settings of the machine's user.
pub(crate) fn command(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("COLLOQUY_") || name == "DATABASE_URL" || name == "NATS_URL" {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs `command` to its end; fails unless it succeeds. Tells what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed
}

/// An address that nobody listens on, and that no outgoing connection will take.
pub(crate) fn free_address() -> SocketAddr {
    let span = PORTS.end - PORTS.start;
    let offset = u16::try_from(std::process::id() * 37 % u32::from(span)).unwrap();
    loop {
        let next = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + offset.wrapping_add(next) % span;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Writes a file for a test.
pub(crate) fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}
