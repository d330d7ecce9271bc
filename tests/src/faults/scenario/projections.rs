//! Read models that are made anew, and events that they can't take in.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use rand::Rng;
use sqlx::Executor as _;

use super::Stage;
use crate::faults::world::{PROJECTORS, any};
use crate::{eventually, found};

/// An event of a new session that no version knows, appended as the store does it.
const POISON: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(7245873190467);
    INSERT INTO events (position, event_id, tenant_id, aggregate_type, aggregate_id, sequence,
                        event_type, event_version, payload, metadata)
    SELECT coalesce(max(position), 0) + 1, gen_random_uuid(), 'tenant-0', 'session',
           gen_random_uuid()::text, 1, 'FromTheFuture', '1.0',
           '{\"FromTheFuture\": {}}', '{}'
    FROM events;
    COMMIT";
/// Read models that every turn changes.
const TABLES: [&str; 3] = ["turns", "messages", "sessions"];
const PARKED: &str = "SELECT count(DISTINCT (projection, position)) FROM parked_events WHERE event_type = 'FromTheFuture'";
/// The signal of a kill.
const KILL: i32 = 9;
const SOON: Duration = Duration::from_secs(20);

/// A session that a held-up projector uses: its process's port, and that it has a transaction.
const HELD_UP: &str = "
    SELECT client_port FROM pg_stat_activity
    WHERE $1 = ANY(pg_blocking_pids(pid)) AND xact_start IS NOT NULL AND client_port > 0";

/// Projectors are killed while another one keeps the same read models: at any time, and between
/// the move of the checkpoint and the commit, where a lock on the table holds them up.
pub(super) async fn killed(stage: &mut Stage) {
    for round in 0..stage.by_scale(6, 30) {
        stage.turns(1).await;
        if round % 3 == 0 {
            killed_while_it_folds(stage).await;
        } else {
            let node = any(&mut stage.dice, &PROJECTORS);
            stage.world.kill(node);
        }
    }
    stage.turns(4).await;
}

async fn killed_while_it_folds(stage: &mut Stage) {
    let table = TABLES[stage.dice.random_range(0..TABLES.len())];
    let mut lock = stage.world.connect().await.unwrap();
    let own: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut lock).await.unwrap();
    let statement = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE");
    lock.execute(statement.as_str()).await.unwrap();
    let node = found("the fault: a projector is held up", SOON, async || {
        let held_up = sqlx::query_scalar::<_, i32>(HELD_UP).bind(own);
        let ports = held_up.fetch_all(&stage.world.pool).await.unwrap();
        let ports = ports.into_iter().filter_map(|port| u16::try_from(port).ok());
        ports.into_iter().find_map(|port| stage.world.connected_from(&PROJECTORS, port))
    })
    .await;
    stage.world.note(&format!("{node} is held up at {table}"));
    stage.world.kill(node);
    drop(lock);
}

/// All read models are rebuilt under load, by a process that is killed at any point.
pub(super) async fn rebuilt(stage: &mut Stage) {
    let (mut killed, mut longest) = (0, stage.by_scale(600, 3000));
    for _ in 0..20 {
        if killed == stage.by_scale(3, 5) {
            break;
        }
        stage.turns(1).await;
        let mut command = stage.world.cluster.cli_command(&["projections", "rebuild", "all"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut rebuilding = command.spawn().unwrap();
        let time = stage.dice.random_range(10..longest);
        stage.last(Duration::from_millis(time)).await;
        drop(rebuilding.kill());
        if rebuilding.wait().unwrap().signal() == Some(KILL) {
            killed += 1;
        } else {
            // It was quicker.
            longest = time.max(20);
        }
    }
    assert!(killed > 0, "the fault: all rebuilds were quicker");
    stage.turns(4).await;
}

/// An event that cannot be read: its stream is parked, and the others go on.
pub(super) async fn poisoned(stage: &mut Stage) {
    stage.turns(4).await;
    let parked = async |stage: &Stage| {
        sqlx::query_scalar::<_, i64>(PARKED).fetch_one(&stage.world.pool).await.unwrap()
    };
    let before = parked(stage).await;
    stage.world.execute(POISON).await.unwrap();
    stage.turns(4).await;
    eventually("the event is parked", SOON, async || parked(stage).await > before).await;
}
