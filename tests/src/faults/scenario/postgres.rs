//! Postgres, which is the truth, in all kinds of trouble.

use std::time::Duration;

use rand::Rng;

use super::Stage;
use crate::faults::fault::Side;

/// The server is killed, stopped without rolling back, and single sessions of it are ended in
/// the middle of an append.
pub(super) async fn crashed(stage: &mut Stage) {
    stage.turns(4).await;
    stage.world.crash_postgres().await;
    stage.turns(4).await;
    stage.world.stop_postgres_immediately().await;
    let mut ended = 0;
    for _ in 0..stage.by_scale(4, 30) {
        stage.turns(1).await;
        ended += stage.world.kill_backends().await;
    }
    assert!(ended > 0, "the fault: no session was ended");
    stage.turns(4).await;
}

/// Commits succeed, and who asked for them never hears so.
pub(super) async fn answers_lost(stage: &mut Stage) {
    for one_in in stage.by_scale(vec![40], vec![80, 40, 25]) {
        stage.world.all_links(Side::Postgres, |proxy| proxy.lose_answers(one_in));
        stage.turns(stage.by_scale(12, 60)).await;
    }
    let lost = stage.world.on_all_links(Side::Postgres, |traffic| traffic.lost);
    assert!(lost > 0, "the fault: no answer was lost");
}

/// Whatever writes is refused, by all sessions at once.
pub(super) async fn read_only(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 3) {
        stage.turns(4).await;
        stage.world.make_read_only().await;
        stage.last_without_writes(Duration::from_secs(stage.by_scale(4, 15))).await;
        stage.world.reset_settings().await;
        stage.turns(4).await;
    }
}

/// Others have all the connections.
pub(super) async fn exhausted(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 3) {
        stage.turns(4).await;
        let time = Duration::from_secs(stage.by_scale(4, 15));
        stage.world.exhaust_connections(time).await;
        stage.turns(4).await;
    }
}

/// A disk that takes its time, and a long way to it.
pub(super) async fn slow(stage: &mut Stage) {
    stage.turns(2).await;
    stage.world.slow_commits(Duration::from_millis(100)).await;
    stage.turns(stage.by_scale(6, 40)).await;
    stage.world.all_links(Side::Postgres, |proxy| proxy.delay(Duration::from_millis(20)));
    stage.turns(stage.by_scale(4, 40)).await;
    let late = stage.world.on_all_links(Side::Postgres, |traffic| traffic.delayed);
    assert!(late > 0, "the fault: nothing was late");
}

/// The disk takes no more, until somebody makes room.
pub(super) async fn disk_full(stage: &mut Stage) {
    stage.turns(4).await;
    let kilobytes = stage.dice.random_range(1..64);
    stage.world.fill_disk(kilobytes);
    stage.last(Duration::from_secs(stage.by_scale(3, 10))).await;
    stage.world.disk_is_full().await;
    stage.world.empty_disk().await;
    stage.turns(4).await;
}

/// Somebody takes the append lock and goes for a coffee; meanwhile a table is packed.
pub(super) async fn append_lock_held(stage: &mut Stage) {
    for _ in 0..stage.by_scale(1, 3) {
        stage.turns(4).await;
        let idle = stage.world.hold_append_lock().await;
        stage.world.an_append_waits().await;
        stage.last_without_writes(Duration::from_secs(stage.by_scale(5, 20))).await;
        drop(idle);
        stage.turns(2).await;
        stage.world.execute("VACUUM FULL turns").await.unwrap();
        stage.turns(2).await;
    }
}
