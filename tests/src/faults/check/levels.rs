//! I10: what the installation holds at rest: files and sockets, memory, connections,
//! subscriptions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::faults::world::{WORKERS, World};

/// What pools and caches may have grown by.
const FILES: u64 = 40;
const MEMORY_KILOBYTES: u64 = 96 * 1024;
/// An answer may be in so many places: read, sent on, in the log, in caches, in read models.
const PLACES: u64 = 20;
const BACKENDS: u64 = 64;
const SUBSCRIPTIONS: u64 = 24;
const CONNECTIONS: u64 = 4;
/// Idle connections of clients close after a while.
const SETTLE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);

/// How much of everything is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// Open files and sockets of each process.
    pub files: BTreeMap<String, u64>,
    /// Resident memory of each process, in kilobytes.
    pub memory: BTreeMap<String, u64>,
    /// Connections to Postgres.
    pub backends: u64,
    /// Subscriptions in NATS.
    pub subscriptions: u64,
    /// Connections to NATS.
    pub connections: u64,
}

impl Levels {
    /// Those of now.
    pub async fn of(world: &mut World) -> Self {
        let mut files: BTreeMap<String, u64> = BTreeMap::new();
        let mut memory = BTreeMap::new();
        for name in world.cluster.names() {
            let pid = world.cluster.node(&name).pid();
            // What workers keep open to providers closes later.
            let all = if WORKERS.contains(&name.as_str()) { "all workers" } else { &name };
            *files.entry(all.to_owned()).or_default() += open_files(pid);
            memory.insert(name, resident(pid));
        }
        let idle = world.cluster.provider.connections() + world.second.connections();
        files
            .entry("all workers".to_owned())
            .and_modify(|files| *files = files.saturating_sub(idle));
        let backends: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        let monitor = world.cluster.nats.monitor_url().expect("a NATS that tells");
        let connections = ask(&format!("{monitor}/connz?limit=1")).await["total"].clone();
        let subscriptions = ask(&format!("{monitor}/subsz")).await["num_subscriptions"].clone();
        Self {
            files,
            memory,
            backends: u64::try_from(backends).unwrap(),
            subscriptions: subscriptions.as_u64().expect("subscriptions"),
            connections: connections.as_u64().expect("connections"),
        }
    }

    /// What has grown beyond what pools and caches explain, after answers of up to `bytes`.
    fn beyond(&self, before: &Self, bytes: u64) -> Vec<String> {
        let memory_room = MEMORY_KILOBYTES + PLACES * bytes / 1024;
        let mut grown = Vec::new();
        let mut compare = |what: &str, now: u64, before: u64, room: u64| {
            if now > before + room {
                grown.push(format!("{what}: {now}, and {before} before"));
            }
        };
        for (name, files) in &self.files {
            compare(&format!("open files of {name}"), *files, before.files[name], FILES);
        }
        for (name, memory) in &self.memory {
            let what = format!("kilobytes of {name}");
            compare(&what, *memory, before.memory[name], memory_room);
        }
        compare("connections to Postgres", self.backends, before.backends, BACKENDS);
        compare("subscriptions", self.subscriptions, before.subscriptions, SUBSCRIPTIONS);
        compare("connections to NATS", self.connections, before.connections, CONNECTIONS);
        grown
    }
}

/// Waits until the world holds no more than when it was first at rest; fails if it doesn't come
/// to that, after answers of up to `bytes`.
pub async fn are_back(world: &mut World, bytes: u64) {
    let now = Levels::of(world).await;
    let Some(before) = world.at_rest.clone() else {
        world.at_rest = Some(now);
        return;
    };
    let began = std::time::Instant::now();
    loop {
        let grown = Levels::of(world).await.beyond(&before, bytes);
        if grown.is_empty() {
            break;
        }
        assert!(began.elapsed() < SETTLE, "I10: not back: {}", grown.join("; "));
        tokio::time::sleep(LOOK).await;
    }
    if bytes > 0 {
        // Freed memory is not always given back.
        world.at_rest = Some(Levels::of(world).await);
    }
}

async fn ask(url: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

fn open_files(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
