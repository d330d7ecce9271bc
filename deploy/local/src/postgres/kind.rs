//! How Postgres is run: its command line, its user, when it is ready.

use std::{ffi::OsString, fs, path::Path};

use rustix::process::Pid;
use tokio::process::Command;

use super::cluster;
use crate::{
    error::{Doing, LocalError},
    find::PostgresPrograms,
    identity::Identity,
    launch::Kind,
    supervise::changes_postgres,
};

/// How Postgres is run: what a service asks for.
pub(super) struct PostgresKind {
    programs: PostgresPrograms,
    identity: Option<Identity>,
    settings: Vec<(String, String)>,
}

impl PostgresKind {
    pub(super) fn new(
        programs: PostgresPrograms,
        identity: Option<Identity>,
        settings: Vec<(String, String)>,
    ) -> Self {
        Self { programs, identity, settings }
    }

    pub(super) fn major_version(&self) -> u32 {
        self.programs.major
    }

    /// One of Postgres's own programs, run by the right user and free of outside settings.
    pub(super) fn command(&self, program: &str, home: &Path) -> Command {
        let mut command = std::process::Command::new(self.programs.bin.join(program));
        command.current_dir(home).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if changes_postgres(&name) {
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
        let fixed = cluster::SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
        let given = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        for setting in fixed.chain(given).chain([format!("port={port}")]) {
            line.extend(["-c".into(), setting.into()]);
        }
        Ok(line)
    }

    async fn is_ready(&self, home: &Path, pid: Pid, _port: u16) -> bool {
        cluster::is_ready(home, pid)
    }
}
