//! Connections between nodes and their servers that are cut or bad.

use crate::faults::World;
use crate::proxy::{Proxy, Traffic};

/// Which of a node's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// NATS.
    Nats,
    /// Postgres.
    Postgres,
}

/// A way in which a connection may be interrupted.
#[derive(Debug, Clone, Copy)]
pub struct Break {
    /// Does it to a proxy.
    pub begin: fn(&Proxy),
    /// The bytes that must not have passed since.
    flow: fn(Traffic) -> u64,
}

/// All of them, each way too.
pub const BREAKS: [Break; 4] = [
    Break { begin: Proxy::cut, flow: both },
    Break { begin: Proxy::silence, flow: both },
    Break { begin: Proxy::silence_to_server, flow: |traffic| traffic.to_server },
    Break { begin: Proxy::silence_to_client, flow: |traffic| traffic.to_client },
];

fn both(traffic: Traffic) -> u64 {
    traffic.to_server + traffic.to_client
}

impl Break {
    /// Fails if anything got through between `settled` and `now`, or if nobody had wanted to
    /// since `before`.
    pub fn held(&self, before: Traffic, settled: Traffic, now: Traffic) {
        let passed = (self.flow)(now.since(settled));
        assert_eq!(passed, 0, "the fault: bytes passed where none could: {settled:?} to {now:?}");
        let met = now.since(before);
        assert!(met.refused + met.held_back > 0, "the fault: nobody met it: {met:?}");
    }
}

impl World {
    /// What stands between a node and one of its servers.
    pub fn link(&self, name: &str, side: Side) -> &Proxy {
        self.note(&format!("link of {name} to {side:?}"));
        self.between(name, side)
    }

    fn between(&self, name: &str, side: Side) -> &Proxy {
        match side {
            Side::Nats => self.cluster.proxy(name),
            Side::Postgres => self.cluster.database_proxy(name),
        }
    }

    /// Does something to the links of all nodes.
    pub fn all_links(&self, side: Side, change: impl Fn(&Proxy)) {
        for name in self.cluster.names() {
            change(self.link(&name, side));
        }
    }

    /// What has happened on the links of all nodes, counted by `count`.
    pub fn on_all_links(&self, side: Side, count: impl Fn(Traffic) -> u64) -> u64 {
        let names = self.cluster.names();
        names.iter().map(|name| count(self.between(name, side).traffic())).sum()
    }
}
