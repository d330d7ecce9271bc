//! Helpers for these tests: processes, connections, waiting.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use local::{DATABASE, Postgres};
use rustix::process::Pid;
use sqlx::{Connection, PgConnection};

pub(crate) async fn connect(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url(DATABASE)).await.unwrap()
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

pub(crate) async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Every process that has `folder` on its command line or as its working folder.
pub(crate) fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbered =
        entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    numbered
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let ours = entry.file_name().to_string_lossy() == std::process::id().to_string();
            let inside = line.contains(folder) || cwd.starts_with(folder);
            (inside && !ours).then_some(line)
        })
        .collect()
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A process that has ended may be listed until its parent takes notice; its command line is gone.
pub(crate) fn is_alive(process: Pid) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero()));
    line.is_ok_and(|line| !line.is_empty())
}
