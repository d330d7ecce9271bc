//! The data of a Postgres server ("cluster" in its manual): set up at the first start.

use std::{fs, path::Path, path::PathBuf, time::Duration};

use rustix::process::Pid;
use tokio::process::Command;

use super::{DATABASE, USER, kind::PostgresKind};
use crate::{
    command,
    error::{Doing, LocalError},
    files,
};

/// The finished data, inside the server's folder.
pub(super) const DATA: &str = "data";
/// Data being set up. It gets its final name when complete, so a half-made one is never used.
const UNFINISHED: &str = "data.new";
const SETUP_DEADLINE: Duration = Duration::from_secs(120);

/// Settings for every private server. Given on the command line, so a newer program's choice also
/// holds for old data.
pub(super) const SETTINGS: [(&str, &str); 14] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "200"),
    ("password_encryption", "scram-sha-256"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_wal_size", "4GB"),
    ("jit", "off"),
    ("autovacuum", "on"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
];

/// The major version that wrote the data; `None` when there is none.
pub(super) fn major_version(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

pub(super) fn pid_file(home: &Path) -> PathBuf {
    home.join(DATA).join("postmaster.pid")
}

/// Postgres itself writes its state into its pid file: the process id in line 1, "ready" in line 8.
pub(super) fn is_ready(home: &Path, pid: Pid) -> bool {
    let Ok(text) = fs::read_to_string(pid_file(home)) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(&pid.as_raw_nonzero().to_string()) && lines.nth(6) == Some("ready")
}

/// Sets up empty data with the owner's role and database.
pub(super) async fn create(
    kind: &PostgresKind,
    home: &Path,
    password_file: &Path,
    durable: bool,
) -> Result<(), LocalError> {
    let unfinished = home.join(UNFINISHED);
    files::remove(&unfinished)?;
    // Case mapping knows all of Unicode where the system has that locale; macOS has it under
    // another name. The sort order is by code point everywhere.
    let locale = if cfg!(target_os = "macos") { "--lc-ctype=UTF-8" } else { "--lc-ctype=C.UTF-8" };
    let full = initdb(kind, home, password_file, Some(locale)).await;
    if let Err(LocalError::Program { output, .. }) = &full
        && output.contains("invalid locale")
    {
        initdb(kind, home, password_file, None).await?;
    } else {
        full?;
    }
    create_database(kind, home).await?;
    if durable {
        let mut sync = kind.command("initdb", home);
        sync.arg("--sync-only").arg("-D").arg(&unfinished);
        command::run(sync, SETUP_DEADLINE).await?;
    }
    let data = home.join(DATA);
    files::remove(&data)?;
    fs::rename(&unfinished, &data).doing(|| format!("rename {}", unfinished.display()))
}

async fn initdb(
    kind: &PostgresKind,
    home: &Path,
    password_file: &Path,
    locale: Option<&str>,
) -> Result<(), LocalError> {
    let mut initdb = kind.command("initdb", home);
    initdb.args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]);
    initdb.args(locale).args(["--auth=scram-sha-256", "--username", USER]);
    initdb.arg("--pwfile").arg(password_file).arg("-D").arg(home.join(UNFINISHED));
    command::run(initdb, SETUP_DEADLINE).await.map(drop)
}

/// Runs a statement without a server: no port or password is needed yet.
async fn create_database(kind: &PostgresKind, home: &Path) -> Result<(), LocalError> {
    let mut single: Command = kind.command("postgres", home);
    single.args(["--single", "-F", "-D"]).arg(home.join(UNFINISHED)).arg("postgres");
    let statement = format!("CREATE DATABASE {DATABASE};\n");
    command::run_with_input(single, &statement, SETUP_DEADLINE).await.map(drop)
}
