//! What Postgres and NATS have in common: locks, port, start, readiness, stop, crash, restart.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep};

use crate::{
    error::{Doing, LocalError},
    files,
    identity::Identity,
    lock, ports,
    supervise::{Order, Supervised},
};

/// Another thread that is just starting a program may hold a copy of a released lock for a moment.
const OWNER_PATIENCE: Duration = Duration::from_millis(500);
/// A predecessor that was killed has this long to be stopped by its script.
const SERVER_PATIENCE: Duration = Duration::from_secs(20);
/// Recovery after a crash may have much log to go through.
const READY_DEADLINE: Duration = Duration::from_secs(120);
const PORT_TRIES: usize = 5;
const PORT_PAUSE: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(5);

/// What is particular to one kind of server.
pub(crate) trait Kind {
    /// For messages.
    const NAME: &'static str;
    /// Asks for a quick stop in good order.
    const STOP_SIGNAL: &'static str;

    /// Whom to run as, when not as ourselves.
    fn identity(&self) -> Option<&Identity>;
    /// Called before each start, when nothing uses the data. Returns the command line.
    fn prepare(&self, home: &Path, port: u16) -> Result<Vec<OsString>, LocalError>;
    /// Whether clients are served.
    fn is_ready(&self, home: &Path, pid: Pid, port: u16) -> impl Future<Output = bool> + Send;
}

/// A server with its folder, through all its lives.
pub(crate) struct Service<K> {
    pub(crate) kind: K,
    pub(crate) home: PathBuf,
    port: u16,
    running: Option<Supervised>,
    /// Held while this object wants the server to run; ends with this process.
    owner: Option<File>,
}

impl<K: Kind> Service<K> {
    /// Starts on the port of last time if it is free, else on any.
    pub(crate) async fn start(kind: K, home: PathBuf, owner: File) -> Result<Self, LocalError> {
        let mut service = Self { kind, home, port: 0, running: None, owner: Some(owner) };
        let last = fs::read_to_string(service.port_file()).ok();
        let last =
            last.and_then(|text| text.trim().parse().ok()).filter(|port| ports::is_free(*port));
        for attempt in 1.. {
            service.port = match last {
                Some(port) if attempt == 1 => port,
                _ => ports::free()?,
            };
            match service.launch().await {
                Ok(()) => break,
                // Somebody took the port between our look and the server's start.
                Err(LocalError::EndedEarly { .. })
                    if attempt < PORT_TRIES && !ports::is_free(service.port) => {}
                Err(error) => return Err(error),
            }
        }
        let file = service.port_file();
        fs::write(&file, service.port.to_string()).doing(|| format!("write {}", file.display()))?;
        Ok(service)
    }

    /// Starts the stopped server again, on the same port and data.
    pub(crate) async fn start_again(&mut self) -> Result<(), LocalError> {
        if self.is_running() {
            return Err(LocalError::WrongState { server: K::NAME, state: "running" });
        }
        if self.owner.is_none() {
            self.owner = Some(own(&self.home).await?);
        }
        for attempt in 1.. {
            match self.launch().await {
                Err(LocalError::EndedEarly { .. })
                    if attempt < PORT_TRIES && !ports::is_free(self.port) =>
                {
                    sleep(PORT_PAUSE).await;
                }
                done => return done,
            }
        }
        Ok(())
    }

    async fn launch(&mut self) -> Result<(), LocalError> {
        let lock = lock::take(&self.home.join("server.lock"), SERVER_PATIENCE).await?;
        let lock = lock.ok_or_else(|| LocalError::Deadline {
            what: format!("an earlier {} in {} to end", K::NAME, self.home.display()),
            after: SERVER_PATIENCE,
        })?;
        let log = self.log();
        let log_start = files::rotate_log(&log)?;
        let order = Order {
            command_line: self.kind.prepare(&self.home, self.port)?,
            stop_signal: K::STOP_SIGNAL,
            log: &log,
            home: &self.home,
            identity: self.kind.identity(),
            lock,
        };
        let mut server = Supervised::start(order).await?;
        self.until_ready(&mut server, log_start).await?;
        self.running = Some(server);
        Ok(())
    }

    async fn until_ready(&self, server: &mut Supervised, log_start: u64) -> Result<(), LocalError> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            if !server.is_running() {
                let (log, tail) = (self.log(), files::log_tail(&self.log(), log_start));
                return Err(LocalError::EndedEarly { server: K::NAME, log, tail });
            }
            if self.kind.is_ready(&self.home, server.pid(), self.port).await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                server.stop().await?;
                let what = format!("{} to become ready", K::NAME);
                return Err(LocalError::Deadline { what, after: READY_DEADLINE });
            }
            sleep(POLL).await;
        }
    }

    /// Stops in good order and lets go of the folder. A stopped server is fine.
    pub(crate) async fn stop(&mut self) -> Result<(), LocalError> {
        if let Some(mut server) = self.running.take() {
            server.stop().await?;
        }
        self.owner = None;
        Ok(())
    }

    /// Ends the server as a crash would; the folder stays ours.
    pub(crate) async fn kill(&mut self) -> Result<(), LocalError> {
        match self.running.take() {
            Some(mut server) => server.kill().await,
            None => Ok(()),
        }
    }

    pub(crate) async fn pause(&mut self) -> Result<(), LocalError> {
        match &mut self.running {
            Some(server) => server.pause().await?.then_some(()).ok_or_else(Self::not_running),
            None => Err(Self::not_running()),
        }
    }

    pub(crate) fn resume(&mut self) -> Result<(), LocalError> {
        let sent = self.running.as_mut().is_some_and(|server| server.signal(Signal::CONT));
        sent.then_some(()).ok_or_else(Self::not_running)
    }

    fn not_running() -> LocalError {
        LocalError::WrongState { server: K::NAME, state: "not running" }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Supervised::is_running)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        let server = self.running.as_ref()?;
        u32::try_from(server.pid().as_raw_nonzero().get()).ok()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    fn port_file(&self) -> PathBuf {
        self.home.join("port")
    }
}

/// Makes this process the one that runs the server in `home`.
pub(crate) async fn own(home: &Path) -> Result<File, LocalError> {
    let path = home.join("owner.lock");
    if let Some(file) = lock::take(&path, OWNER_PATIENCE).await? {
        fs::write(&path, std::process::id().to_string())
            .doing(|| format!("write {}", path.display()))?;
        return Ok(file);
    }
    let owner = fs::read_to_string(&path).unwrap_or_default();
    Err(LocalError::InUse { folder: home.to_owned(), owner: owner.trim().to_owned() })
}
