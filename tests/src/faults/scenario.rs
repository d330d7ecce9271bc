//! The table of what is tried, and the faults of each.

mod clients;
mod combined;
mod crossing;
mod nats;
mod nodes;
mod postgres;
mod projections;
mod providers;
mod quota;

use std::pin::Pin;

use super::load::Load;
use super::run::{Scale, Stage};

/// What a scenario does to a stage.
type Faults = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One thing that is tried.
pub struct Scenario {
    /// What it is called by.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// Who works meanwhile.
    pub load: fn(Scale) -> Load,
    /// What goes wrong.
    pub faults: Faults,
}

/// A line of the table.
macro_rules! scenario {
    ($name:literal, $about:literal, $load:path, $faults:path) => {
        Scenario {
            name: $name,
            about: $about,
            load: $load,
            faults: |stage| Box::pin($faults(stage)),
        }
    };
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    scenario!(
        "worker-killed",
        "a worker is killed in the middle of answers",
        usual,
        nodes::worker_killed
    ),
    scenario!(
        "worker-frozen",
        "a worker is frozen beyond its lease, and comes back",
        usual,
        nodes::worker_frozen
    ),
    scenario!(
        "relay-frozen",
        "the relay's leader is frozen, and comes back when another leads",
        usual,
        nodes::relay_frozen
    ),
    scenario!("api-killed", "nodes are killed with commands under way", usual, nodes::api_killed),
    scenario!(
        "projector-killed",
        "projectors are killed, also in the middle of a transaction",
        usual,
        projections::killed
    ),
    scenario!(
        "rolling-restart",
        "every process is stopped in good order, one after the other",
        usual,
        nodes::rolling_restart
    ),
    scenario!(
        "everything-at-once",
        "long answers; workers killed, NATS wiped, a relay frozen",
        crowd,
        nodes::everything_at_once
    ),
    scenario!("nats-wiped", "NATS is killed and loses its whole store", usual, nats::wiped),
    scenario!(
        "nats-truncated",
        "NATS is killed and loses the end or the middle of its files",
        usual,
        nats::truncated
    ),
    scenario!("nats-down", "NATS is away for long", usual, nats::down),
    scenario!("nats-paused", "NATS stands still with open connections", usual, nats::paused),
    scenario!(
        "nats-partitioned",
        "nodes are cut off from NATS, each way too",
        usual,
        nats::partitioned
    ),
    scenario!(
        "nats-doubled",
        "messages come twice, out of order, late, or without acknowledgement",
        usual,
        nats::doubled
    ),
    scenario!(
        "postgres-crashed",
        "Postgres is killed, stopped at once, loses sessions in an append",
        usual,
        postgres::crashed
    ),
    scenario!(
        "postgres-partitioned",
        "nodes are cut off from Postgres, each way too",
        usual,
        nats::partitioned_from_postgres
    ),
    scenario!(
        "postgres-answers-lost",
        "commits succeed and the answer is lost",
        usual,
        postgres::answers_lost
    ),
    scenario!("postgres-read-only", "Postgres refuses whatever writes", usual, postgres::read_only),
    scenario!("postgres-exhausted", "others have all connections", usual, postgres::exhausted),
    scenario!(
        "postgres-slow",
        "commits take 100 ms, and the way to them 20 ms",
        usual,
        postgres::slow
    ),
    scenario!("postgres-disk-full", "Postgres cannot write any more", usual, postgres::disk_full),
    scenario!(
        "append-lock-held",
        "an idle transaction holds the append lock; a table is packed",
        usual,
        postgres::append_lock_held
    ),
    scenario!(
        "clients-vanish",
        "clients close connections at any point of a request",
        usual,
        clients::vanishing
    ),
    scenario!(
        "watchers-stampede",
        "hundreds of watchers lose their node at once; some hardly read",
        usual,
        clients::stampede
    ),
    scenario!("event-poisoned", "an event that nobody can read", usual, projections::poisoned),
    scenario!(
        "rebuild-killed",
        "read models are rebuilt under load by a process that is killed",
        usual,
        projections::rebuilt
    ),
    scenario!(
        "provider-moody",
        "429, 500, cut, malformed, doubled and miscounted answers",
        providers::moody,
        providers::each_at_least_once
    ),
    scenario!(
        "provider-slow",
        "answers that hang or stall, and those of ten megabytes",
        providers::slow,
        providers::each_at_least_once
    ),
    scenario!(
        "quota-raced",
        "hundreds of requests at once for what is left of a limit",
        usual,
        quota::raced_for
    ),
    scenario!(
        "streams-crossed",
        "many at the same sessions and accounts from all nodes, which are killed",
        usual,
        crossing::streams_crossed
    ),
    scenario!(
        "combined",
        "faults of all kinds at random, one over the other",
        usual,
        combined::at_random
    ),
];

/// The scenario called `name`.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Users of all kinds.
fn usual(scale: Scale) -> Load {
    match scale {
        Scale::Short => Load::default(),
        Scale::Long => Load { users: 24, tenants: 5, tokens: (8, 80), ..Load::default() },
    }
}

/// Many users with long answers, who do nothing but send and watch.
fn crowd(scale: Scale) -> Load {
    let load = Load { plain: true, at_least: 1, ..Load::default() };
    match scale {
        Scale::Short => Load { users: 12, tokens: (60, 80), pause: (40, 50), ..load },
        Scale::Long => Load { users: 100, tenants: 5, tokens: (400, 600), pause: (40, 50), ..load },
    }
}
