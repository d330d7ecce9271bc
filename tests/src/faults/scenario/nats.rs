//! NATS, which may lose everything at any time, and what lies between it and the nodes.

use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;

use super::Stage;
use crate::eventually;
use crate::faults::fault::{BREAKS, Side};
use crate::faults::world::{APIS, PROJECTORS, RELAYS, WORKERS, any};

/// For something that happens all the time.
const SOON: Duration = Duration::from_secs(20);
/// What was on its way when a connection was interrupted has arrived by then.
const SETTLE: Duration = Duration::from_millis(300);

/// The whole store is lost, again and again, in the middle of streams and with jobs queued.
pub(super) async fn wiped(stage: &mut Stage) {
    for _ in 0..3 {
        stage.turns(3).await;
        stage.world.wipe_nats().await;
    }
    stage.turns(4).await;
}

/// The newest part of what was acknowledged is lost; then a part in the middle.
pub(super) async fn truncated(stage: &mut Stage) {
    for round in 0..stage.by_scale(2, 6) {
        stage.turns(4).await;
        if round % 2 == 0 {
            let bytes = stage.dice.random_range(1..=64 * 1024);
            stage.world.truncate_nats(bytes).await;
        } else {
            stage.world.hole_in_nats().await;
        }
    }
    stage.turns(4).await;
}

/// NATS is away for long: messages are accepted, and turns that were begun end.
pub(super) async fn down(stage: &mut Stage) {
    stage.turns(4).await;
    stage.world.kill_nats().await;
    let away = stage.dice.random_range(30..300);
    let away = stage.by_scale(4, away);
    for _ in 0..3 {
        stage.working.accepts(&mut stage.dice, Duration::from_secs(20)).await;
    }
    stage.last(Duration::from_secs(away)).await;
    assert!(!stage.world.cluster.nats.is_running(), "the fault: NATS is back by itself");
    stage.world.cluster.nats.start_again().await.unwrap();
    stage.turns(4).await;
}

/// NATS stands still, and every connection to it stays open.
pub(super) async fn paused(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 4) {
        stage.turns(4).await;
        stage.world.pause_nats().await;
        let seconds = stage.dice.random_range(3..25);
        let seconds = stage.by_scale(4, seconds);
        stage.last(Duration::from_secs(seconds)).await;
        stage.world.cluster.nats.resume().unwrap();
    }
    stage.turns(4).await;
}

/// Nodes of every kind are cut off from NATS, in every way.
pub(super) async fn partitioned(stage: &mut Stage) {
    cut_off(stage, Side::Nats).await;
}

/// Nodes of every kind are cut off from Postgres, in every way.
pub(super) async fn partitioned_from_postgres(stage: &mut Stage) {
    cut_off(stage, Side::Postgres).await;
}

async fn cut_off(stage: &mut Stage, side: Side) {
    let mut kinds = [APIS, WORKERS, RELAYS, PROJECTORS];
    for _ in 0..stage.by_scale(1, 3) {
        kinds.shuffle(&mut stage.dice);
        for kind in &kinds[..stage.by_scale(2, 4)] {
            let node = any(&mut stage.dice, kind);
            let way = BREAKS[stage.dice.random_range(0..BREAKS.len())];
            let link = stage.world.link(node, side);
            let before = link.traffic();
            (way.begin)(link);
            stage.last(SETTLE).await;
            let settled = link.traffic();
            let seconds = stage.dice.random_range(2..12);
            let seconds = stage.by_scale(3, seconds);
            stage.last(Duration::from_secs(seconds)).await;
            way.held(before, settled, link.traffic());
            stage.world.link(node, side).pass();
            stage.turns(2).await;
        }
    }
}

/// Messages come twice, out of order and late, and acknowledgements are lost.
pub(super) async fn doubled(stage: &mut Stage) {
    stage.world.all_links(Side::Nats, |proxy| {
        proxy.double_messages(4);
        proxy.delay(Duration::from_millis(10));
    });
    stage.turns(stage.by_scale(10, 80)).await;
    stage.world.all_links(Side::Nats, |proxy| proxy.lose_answers(150));
    stage.turns(stage.by_scale(8, 80)).await;
    let lost = |stage: &Stage| stage.world.on_all_links(Side::Nats, |traffic| traffic.lost);
    eventually("the fault: an answer is lost", SOON, async || lost(stage) > 0).await;
    let doubled = stage.world.on_all_links(Side::Nats, |traffic| traffic.doubled);
    let delayed = stage.world.on_all_links(Side::Nats, |traffic| traffic.delayed);
    assert!(doubled > 0 && delayed > 0, "the fault: {doubled} came twice, {delayed} late");
}
