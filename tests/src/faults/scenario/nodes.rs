//! Processes that are killed, frozen, stopped; and the worst of it all at once.

use std::time::{Duration, Instant};

use rand::Rng;

use super::Stage;
use crate::faults::world::{APIS, RELAYS, WORKERS, any};

/// Longer than any lease, and than a relay is waited for.
const FREEZE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(7));
/// Who watches a turn of a killed worker is told of its takeover within this; with a busy machine.
const KILLED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// Who watches one of a frozen worker's: its lease has to end first.
const FROZEN: (Duration, Duration) = (Duration::from_secs(12), Duration::from_secs(6));

/// Turns that are in work when a frozen worker comes back, whose answers it then finds whole.
const LONG: &str = "tokens=50 pause=110";
const LONG_TURNS: usize = 6;

/// Workers are killed at any token, one after the other.
pub(super) async fn worker_killed(stage: &mut Stage) {
    let within = stage.by_scale(KILLED.0, KILLED.1);
    for _ in 0..stage.by_scale(2, 10) {
        stage.turns(4).await;
        let first = stage.dice.random_range(0..2);
        stage.world.lose_worker(first, within).await;
    }
    stage.turns(4).await;
}

/// A worker is frozen for longer than its lease, and comes back to turns that others have.
pub(super) async fn worker_frozen(stage: &mut Stage) {
    let (time, within) = (stage.by_scale(FREEZE.0, FREEZE.1), stage.by_scale(FROZEN.0, FROZEN.1));
    for _ in 0..stage.by_scale(1, 4) {
        stage.turns(4).await;
        for _ in 0..LONG_TURNS {
            let (owner, sent) = stage.working.ask(&mut stage.dice, LONG).await;
            stage.working.watch(owner, &sent.turn.id, 1, &mut stage.dice);
        }
        let first = stage.dice.random_range(0..2);
        let worker = stage.world.suspend_worker(first, time, within).await;
        stage.world.thaw(worker);
    }
    stage.turns(4).await;
}

/// The relay that leads is frozen, and comes back when the other one leads.
pub(super) async fn relay_frozen(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 6) {
        stage.turns(2).await;
        let relay = stage.world.leading_relay().await;
        stage.world.freeze(relay).await;
        stage.world.is_led_by_other_than(relay).await;
        stage.turns(stage.by_scale(2, 20)).await;
        stage.world.thaw(relay);
        stage.turns(2).await;
    }
}

/// Nodes are killed with commands under way, and with streams open.
pub(super) async fn api_killed(stage: &mut Stage) {
    for _ in 0..stage.by_scale(3, 20) {
        stage.turns(3).await;
        let node = any(&mut stage.dice, &APIS);
        stage.world.kill(node);
        stage.world.cluster.node(node).ready().await;
    }
    stage.turns(4).await;
}

/// Every process is stopped in good order and started again, one after the other.
pub(super) async fn rolling_restart(stage: &mut Stage) {
    let mut names = stage.world.cluster.names();
    if stage.dice.random_bool(0.5) {
        names.reverse();
    }
    for name in names {
        stage.world.drain(&name).await;
        stage.turns(1).await;
    }
}

/// A worker is killed every second, the store of NATS is deleted once, and the relays are frozen
/// one after the other, while long answers are given.
pub(super) async fn everything_at_once(stage: &mut Stage) {
    let time = stage.by_scale(Duration::from_secs(7), Duration::from_secs(60));
    let frozen = stage.by_scale(Duration::from_secs(5), Duration::from_secs(20));
    let began = Instant::now();
    let mut wiped = false;
    let mut relay = None;
    while began.elapsed() < time {
        stage.last(Duration::from_secs(1)).await;
        let worker = any(&mut stage.dice, &WORKERS);
        stage.world.kill(worker);
        if relay.is_none() && began.elapsed() > time / 8 {
            relay = Some(any(&mut stage.dice, &RELAYS));
            stage.world.freeze(relay.unwrap_or_default()).await;
        }
        if let Some(name) = relay.filter(|_| began.elapsed() > time / 8 + frozen) {
            stage.world.thaw(name);
        }
        if !wiped && began.elapsed() > time / 2 {
            stage.world.wipe_nats().await;
            wiped = true;
        }
    }
}
