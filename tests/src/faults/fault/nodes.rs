//! Processes that are killed, stopped or frozen.

use std::time::Duration;

use crate::faults::World;
use crate::faults::world::RELAYS;
use crate::wait::{eventually, found};

use super::proof;

/// A stop in good order takes at most its grace, and then some.
const STOP: Duration = Duration::from_secs(60);

/// What the relay that leads has taken.
const LEADER_LOCK: i64 = 7_245_873_190_468;

impl World {
    /// Ends a process without warning, and starts it again.
    pub fn kill(&mut self, name: &str) {
        self.note(&format!("kill {name}"));
        let node = self.cluster.node(name);
        let pid = node.pid();
        node.kill();
        assert!(!proof::exists(pid), "the fault: process {pid} of {name} is still there");
        node.start();
    }

    /// Stops a process in good order, and starts it again.
    pub async fn drain(&mut self, name: &str) {
        self.note(&format!("drain {name}"));
        let node = self.cluster.node(name);
        node.terminate();
        let status = node.ended(STOP).await;
        assert_eq!(status.code(), Some(0), "a clean stop of {name}:\n{}", node.log());
        node.start();
        node.ready().await;
    }

    /// Stops a process from running until [`World::thaw`].
    pub async fn freeze(&mut self, name: &str) {
        self.note(&format!("freeze {name}"));
        let node = self.cluster.node(name);
        let pid = node.pid();
        node.signal("STOP");
        self.frozen.insert(pid);
        let what = format!("the fault: {name} stands still");
        eventually(&what, STOP, async || proof::stands_still(pid)).await;
    }

    /// Lets a frozen process go on.
    pub fn thaw(&mut self, name: &str) {
        self.note(&format!("thaw {name}"));
        self.cluster.node(name).signal("CONT");
    }

    /// The relay that leads, by who holds its lock.
    pub async fn leading_relay(&self) -> &'static str {
        found("a relay leads", STOP, async || self.leader().await).await
    }

    /// Waits until another relay than `relay` leads.
    pub async fn is_led_by_other_than(&self, relay: &str) {
        let what = format!("I9: another relay leads than {relay}");
        eventually(&what, STOP, async || self.leader().await.is_some_and(|leader| leader != relay))
            .await;
        self.note("another relay leads");
    }

    async fn leader(&self) -> Option<&'static str> {
        let query = "SELECT client_port FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND granted
              AND (classid::bigint << 32) | objid::bigint = $1";
        let port = sqlx::query_scalar::<_, i32>(query).bind(LEADER_LOCK);
        let port = u16::try_from(port.fetch_optional(&self.pool).await.unwrap()?).unwrap();
        self.connected_from(&RELAYS, port)
    }

    /// Which of `names` has a connection to Postgres that comes from `port`.
    pub fn connected_from(&self, names: &[&'static str], port: u16) -> Option<&'static str> {
        let is = |name: &&&str| self.cluster.database_proxy(name).comes_from(port);
        names.iter().find(is).copied()
    }
}
