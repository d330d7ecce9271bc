//! One server process under a tiny shell script that outlives us just long enough to stop it.
//!
//! The script reads a pipe whose other end is ours alone. When this process ends, even by
//! `kill -9`, the kernel closes our end and the script stops the server. The script and the server
//! are in a process group of their own, so Ctrl-C in a terminal reaches only us and we decide the
//! order of stopping.
//!
//! Nothing here is tied to an async runtime: a server may be started in one runtime and stopped in
//! another, as tests do that share a server.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::{
    error::{Doing, LocalError},
    identity::Identity,
    processes::{is_tree_paused, signal_tree},
};

const SCRIPT: &str = include_str!("supervise.sh");
/// Seconds between the stop signal and SIGKILL, as the script takes them.
const GRACE_SECONDS: &str = "10";
/// The grace and a little more, for a script that hangs.
const STOP_DEADLINE: Duration = Duration::from_secs(13);
const KILL_DEADLINE: Duration = Duration::from_secs(5);
const PAUSE_DEADLINE: Duration = Duration::from_secs(5);
const START_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// What to run, and how.
pub(crate) struct Order<'a> {
    pub(crate) command_line: Vec<OsString>,
    /// The name of the signal that makes the server stop in good order.
    pub(crate) stop_signal: &'static str,
    pub(crate) log: &'a Path,
    /// The working folder.
    pub(crate) home: &'a Path,
    pub(crate) identity: Option<&'a Identity>,
    /// A lock that is held until the last process of the server is gone.
    pub(crate) lock: File,
}

/// A running server; dropping it closes the pipe, which stops the server soon after.
pub(crate) struct Supervised {
    script: Option<Child>,
    lifeline: Option<ChildStdin>,
    server: Pid,
}

impl Supervised {
    /// Starts the server; it is not ready yet when this returns.
    pub(crate) async fn start(order: Order<'_>) -> Result<Self, LocalError> {
        let mut script = shell(order).spawn().doing(|| "run sh".into())?;
        let lifeline = script.stdin.take();
        let stderr = script.stderr.take();
        let read = spawn_blocking(move || read_pid(stderr));
        // When this fails the pipe is dropped, so whatever was started ends.
        let server = timeout(START_DEADLINE, read)
            .await
            .map_err(|_| LocalError::Deadline { what: "sh".into(), after: START_DEADLINE })?
            .map_err(std::io::Error::other)
            .flatten()
            .doing(|| "start a server".into())?;
        Ok(Self { script: Some(script), lifeline, server })
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> Pid {
        self.server
    }

    /// Whether the server still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        let Some(script) = &mut self.script else {
            return false;
        };
        if matches!(script.try_wait(), Ok(None)) {
            return true;
        }
        self.script = None;
        false
    }

    /// Sends `signal` to the server and its children. `false` when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        let running = self.is_running();
        if running {
            signal_tree(self.server, signal);
        }
        running
    }

    /// Freezes the server and its children. `false` when it has ended.
    pub(crate) async fn pause(&mut self) -> Result<bool, LocalError> {
        let deadline = Instant::now() + PAUSE_DEADLINE;
        // Signals again each time: a child may have been forked just before its parent froze.
        while self.signal(Signal::STOP) {
            if is_tree_paused(self.server) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                let what = format!("process {} to pause", self.server.as_raw_nonzero());
                return Err(LocalError::Deadline { what, after: PAUSE_DEADLINE });
            }
            sleep(POLL).await;
        }
        Ok(false)
    }

    /// Stops the server in good order, by force if that takes too long.
    pub(crate) async fn stop(&mut self) -> Result<(), LocalError> {
        self.signal(Signal::CONT);
        self.lifeline = None;
        match self.ended(STOP_DEADLINE).await {
            Err(LocalError::Deadline { .. }) => self.kill().await,
            done => done,
        }
    }

    /// Ends the server the hard way, as a crash would.
    pub(crate) async fn kill(&mut self) -> Result<(), LocalError> {
        self.signal(Signal::KILL);
        self.ended(KILL_DEADLINE).await
    }

    async fn ended(&mut self, patience: Duration) -> Result<(), LocalError> {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                let what = format!("process {} to end", self.server.as_raw_nonzero());
                return Err(LocalError::Deadline { what, after: patience });
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.lifeline = None;
        if let Some(mut script) = self.script.take() {
            // Somebody has to collect the exit status, and dropping must not wait for it.
            std::thread::spawn(move || script.wait());
        }
    }
}

fn shell(order: Order<'_>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "colloquy-supervise", order.stop_signal, GRACE_SECONDS]);
    command.arg(order.log).args(order.command_line);
    command.current_dir(order.home).process_group(0).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::from(order.lock)).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| changes_postgres(name)) {
        command.env_remove(name);
    }
    if let Some(identity) = order.identity {
        identity.apply(&mut command);
    }
    command
}

/// Settings of the user's own Postgres must not leak into ours.
pub(crate) fn changes_postgres(variable: &std::ffi::OsStr) -> bool {
    variable.as_encoded_bytes().starts_with(b"PG")
}

fn read_pid(stderr: Option<ChildStderr>) -> std::io::Result<Pid> {
    let mut line = String::new();
    if let Some(stderr) = stderr {
        BufReader::new(stderr).read_line(&mut line)?;
    }
    let pid = line.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| std::io::Error::other(format!("sh said: {}", line.trim())))
}
