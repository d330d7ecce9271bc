//! Postgres, killed, choked and held up.

use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{Executor, PgConnection};

use crate::faults::World;
use crate::process::run;
use crate::wait::eventually;

use super::proof;

/// What the append function takes before it looks at the log.
const APPEND_LOCK: i64 = 7_245_873_190_467;
/// For Postgres to come back after a crash.
const RECOVERY: Duration = Duration::from_secs(60);

impl World {
    /// Kills Postgres as a crash of its machine would, and starts it again.
    pub async fn crash_postgres(&mut self) {
        self.note("kill Postgres");
        let postgres = self.cluster.postgres.as_mut().expect("a Postgres of its own");
        let pid = postgres.pid().expect("it runs");
        postgres.kill().await.unwrap();
        assert!(!proof::exists(pid), "the fault: Postgres is still there");
        postgres.start_again().await.unwrap();
    }

    /// Stops Postgres at once, without rolling anything back, and starts it again.
    pub async fn stop_postgres_immediately(&mut self) {
        self.note("stop Postgres at once");
        let postgres = self.cluster.postgres.as_mut().expect("a Postgres of its own");
        let pid = postgres.pid().expect("it runs").to_string();
        run(Command::new("kill").args(["-QUIT", &pid]));
        eventually("Postgres ends", RECOVERY, async || !postgres.is_running()).await;
        postgres.start_again().await.unwrap();
    }

    /// Ends every connection that works in the log; tells how many.
    pub async fn kill_backends(&self) -> i64 {
        self.note("end sessions");
        let statement = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
              AND query LIKE '%append_events%'";
        // A database that is just coming back has none.
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap_or(0)
    }

    /// Makes the database refuse whatever writes.
    pub async fn make_read_only(&self) {
        self.set("default_transaction_read_only = on").await;
        eventually("the fault: a write is refused", RECOVERY, async || {
            self.execute("CREATE TABLE IF NOT EXISTS not_now ()").await.is_err()
        })
        .await;
    }

    /// Makes each commit wait for `time`, as a slow disk would.
    pub async fn slow_commits(&self, time: Duration) {
        // Who doesn't wait for the disk has no delay either.
        self.set("fsync = on").await;
        self.set("commit_siblings = 0").await;
        self.set(&format!("commit_delay = {}", time.as_micros())).await;
        let what = format!("the fault: a commit takes {time:?}");
        eventually(&what, RECOVERY, async || {
            let began = Instant::now();
            self.execute("SELECT pg_logical_emit_message(true, 'suite', '')").await.unwrap();
            began.elapsed() >= time
        })
        .await;
    }

    /// Ends a fault that is a setting of Postgres.
    pub async fn reset_settings(&self) {
        self.note("reset settings");
        self.execute("ALTER SYSTEM RESET ALL").await.unwrap();
        self.execute("SELECT pg_reload_conf()").await.unwrap();
    }

    async fn set(&self, setting: &str) {
        self.note(&format!("set {setting}"));
        self.execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        self.execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// A session that has taken the append lock, does nothing, and says so to nobody. It ends
    /// when it is dropped.
    pub async fn hold_append_lock(&self) -> PgConnection {
        self.note("hold the append lock");
        let mut idle = self.connect().await.unwrap();
        let take = format!("BEGIN; SELECT pg_advisory_xact_lock({APPEND_LOCK})");
        idle.execute(take.as_str()).await.unwrap();
        idle
    }

    /// Waits until somebody waits for the append lock.
    pub async fn an_append_waits(&self) {
        let query =
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND (classid::bigint << 32) | objid::bigint = $1)";
        eventually("the fault: an append waits for the lock", RECOVERY, async || {
            let waits = sqlx::query_scalar(query).bind(APPEND_LOCK);
            waits.fetch_one(&self.pool).await.unwrap()
        })
        .await;
    }

    /// Lets no process of Postgres write beyond the first `kilobytes` of a file: to it, the disk
    /// is full. It gives up sooner or later; [`World::heal`] starts it again.
    pub fn fill_disk(&self, kilobytes: u64) {
        self.note("fill the disk");
        let postgres = self.cluster.postgres.as_ref().expect("a Postgres of its own");
        let postmaster = postgres.pid().expect("it runs");
        let bytes = kilobytes * 1024;
        for pid in proof::children(postmaster).into_iter().chain([postmaster]) {
            let set = prlimit(pid, &format!("--fsize={bytes}")).output();
            let set = set.unwrap_or_else(|error| panic!("the fault needs prlimit: {error}"));
            // One that has just ended needs no limit.
            let told = String::from_utf8_lossy(&set.stderr);
            assert!(set.status.success() || !proof::exists(pid), "the fault: prlimit: {told}");
        }
        let bound = proof::file_limit(postmaster);
        assert_eq!(bound, Some(bytes), "the fault: the bound of what Postgres may write");
    }

    /// Fails if Postgres can write a table that is larger than what [`World::fill_disk`] left.
    pub async fn disk_is_full(&self) {
        let table = "CREATE TABLE no_room AS SELECT generate_series(1, 100000)";
        let written = self.execute(table).await;
        let error = written.expect_err("the fault: there was room for a table");
        self.note(&format!("no room: {error}"));
    }

    /// Ends [`World::fill_disk`], with a restart of Postgres.
    pub async fn empty_disk(&mut self) {
        self.note("make room on the disk");
        let postgres = self.cluster.postgres.as_mut().expect("a Postgres of its own");
        postgres.kill().await.unwrap();
        postgres.start_again().await.unwrap();
    }
}

/// `prlimit` of the process `pid`, by its own user: to others it is refused.
fn prlimit(pid: u32, limit: &str) -> Command {
    let owner = proof::owner(pid);
    let mut command = match &owner {
        Some((user, group)) if owner != proof::owner(std::process::id()) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", group, "--clear-groups", "prlimit"]);
            command
        }
        _ => Command::new("prlimit"),
    };
    command.args(["--pid", &pid.to_string(), limit]);
    command
}
