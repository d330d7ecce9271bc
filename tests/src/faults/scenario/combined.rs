//! Whatever the dice say.

use std::time::Duration;

use rand::Rng;

use super::Stage;
use crate::faults::fault::Side;

/// Faults of all kinds, one over the other, each for a random time; now and then some are
/// healed.
pub(super) async fn at_random(stage: &mut Stage) {
    for _ in 0..stage.by_scale(5, 25) {
        one(stage).await;
        let longest = stage.by_scale(1500, 4000);
        let time = stage.dice.random_range(100..longest);
        stage.last(Duration::from_millis(time)).await;
        if stage.dice.random_ratio(1, 3) {
            stage.world.heal().await;
            stage.turns(1).await;
        }
    }
}

/// One more fault.
async fn one(stage: &mut Stage) {
    let names = stage.world.cluster.names();
    let name = names[stage.dice.random_range(0..names.len())].clone();
    let side = if stage.dice.random_bool(0.5) { Side::Nats } else { Side::Postgres };
    let link = stage.world.link(&name, side);
    let kind = stage.dice.random_range(0..14);
    match kind {
        0 => link.cut(),
        1 => link.silence(),
        2 => link.silence_to_server(),
        3 => link.silence_to_client(),
        4 => link.delay(Duration::from_millis(stage.dice.random_range(1..100))),
        5 => link.lose_answers(stage.dice.random_range(20..100)),
        6 => stage.world.cluster.proxy(&name).double_messages(3),
        7 => stage.world.freeze(&name).await,
        8..=9 => stage.world.kill(&name),
        _ => servers(stage, kind).await,
    }
}

/// A fault of a server, which takes its own time.
async fn servers(stage: &mut Stage, kind: u32) {
    match kind {
        10 => stage.world.wipe_nats().await,
        11 => {
            let bytes = stage.dice.random_range(1..=64 * 1024);
            stage.world.truncate_nats(bytes).await;
        }
        12 => stage.world.crash_postgres().await,
        _ => drop(stage.world.kill_backends().await),
    }
}
