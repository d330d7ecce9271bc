//! A Postgres in trouble: locked, full, slow, read-only, silent, or with its replies lost. Every
//! request is answered in time, with what it asked for or with a 503 that says when to come again;
//! what was refused left nothing; and when the trouble is over, the same requests go through, once.

mod asks;

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tests::{Cluster, eventually, invariants};

use crate::support::BINARY;
use asks::{Round, World};

/// The lock under which the append function works.
const APPEND_LOCK: i64 = 7_245_873_190_467;

/// All roles in one process, on a Postgres of its own.
async fn own() -> Cluster {
    let roles = "api,worker,projector,relay";
    Cluster::builder(BINARY).own_postgres().node("all", roles).start().await
}

/// Runs `statements` past the processes.
async fn sql(cluster: &Cluster, statements: &str) {
    let mut connection = PgConnection::connect(cluster.database_url()).await.unwrap();
    connection.execute(statements).await.unwrap();
}

/// Sets `settings` for the whole server, at once.
async fn configure(cluster: &Cluster, settings: &[&str]) {
    for setting in settings {
        sql(cluster, &format!("ALTER SYSTEM {setting}")).await;
    }
    sql(cluster, "SELECT pg_reload_conf()").await;
}

#[tokio::test]
async fn a_held_lock_a_full_disk_and_a_slow_one() {
    let cluster = own().await;
    let world = World::new(&cluster, "all").await;

    // A transaction that took the lock of appends and stands still.
    let round = Round::prepare(&world, "locked").await;
    let mut holder = PgConnection::connect(cluster.database_url()).await.unwrap();
    let take = format!("BEGIN; SELECT pg_advisory_xact_lock({APPEND_LOCK})");
    holder.execute(take.as_str()).await.unwrap();
    let answers = round.ask().await;
    answers.assert_writes_refused();
    answers.assert_reads_served();
    round.assert_refused_left_nothing(&answers).await;
    holder.close().await.unwrap();
    round.assert_recovered().await;

    // Nothing can be written to the log: the server's own error for a full disk.
    let round = Round::prepare(&world, "full").await;
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$;
        CREATE TRIGGER full_disk BEFORE INSERT ON events
        FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
    sql(&cluster, full).await;
    let answers = round.ask().await;
    answers.assert_writes_refused();
    answers.assert_reads_served();
    round.assert_refused_left_nothing(&answers).await;
    sql(&cluster, "DROP TRIGGER full_disk ON events").await;
    round.assert_recovered().await;

    // Every flush of the log to the disk takes a tenth of a second.
    let round = Round::prepare(&world, "slow").await;
    configure(&cluster, &["SET commit_delay = 100000", "SET commit_siblings = 0"]).await;
    let answers = round.ask().await;
    answers.assert_all_served();
    configure(&cluster, &["RESET commit_delay", "RESET commit_siblings"]).await;
    round.assert_recovered().await;
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_read_only_server_and_one_that_says_nothing() {
    let mut cluster = own().await;
    let world = World::new(&cluster, "all").await;

    let round = Round::prepare(&world, "read-only").await;
    configure(&cluster, &["SET default_transaction_read_only = on"]).await;
    let answers = round.ask().await;
    answers.assert_writes_refused();
    answers.assert_reads_served();
    round.assert_refused_left_nothing(&answers).await;
    let writable = "BEGIN READ WRITE; COMMIT; SET default_transaction_read_only = off";
    let mut connection = PgConnection::connect(cluster.database_url()).await.unwrap();
    connection.execute(writable).await.unwrap();
    connection.execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    connection.execute("SELECT pg_reload_conf()").await.unwrap();
    round.assert_recovered().await;

    // Every process of the server stands still: connections stay open, and new ones are made.
    let round = Round::prepare(&world, "silent").await;
    cluster.postgres.as_mut().unwrap().pause().await.unwrap();
    let answers = round.ask().await;
    answers.assert_writes_refused();
    cluster.postgres.as_mut().unwrap().resume().unwrap();
    round.assert_refused_left_nothing(&answers).await;
    round.assert_recovered().await;
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_node_whose_answers_are_lost_or_whose_way_is_cut() {
    let cluster = Cluster::builder(BINARY)
        .node_behind_proxy("edge", "api")
        .node("core", "worker,projector,relay")
        .start()
        .await;
    let world = World::new(&cluster, "edge").await;

    // Statements are carried out, and the connection breaks before their answers come.
    let round = Round::prepare(&world, "lost").await;
    cluster.database_proxy("edge").lose_answers(3);
    let answers = round.ask().await;
    cluster.database_proxy("edge").pass();
    round.assert_refused_left_nothing(&answers).await;
    round.assert_recovered().await;

    let round = Round::prepare(&world, "vanished").await;
    cluster.database_proxy("edge").silence();
    let answers = round.ask().await;
    answers.assert_writes_refused();
    cluster.database_proxy("edge").pass();
    round.assert_refused_left_nothing(&answers).await;
    round.assert_recovered().await;

    // As a host that comes back with another memory: open connections are of no use any more.
    let round = Round::prepare(&world, "cut").await;
    cluster.database_proxy("edge").cut();
    let answers = round.ask().await;
    answers.assert_writes_refused();
    cluster.database_proxy("edge").pass();
    round.assert_refused_left_nothing(&answers).await;
    round.assert_recovered().await;
    let pool = cluster.pool().await;
    invariants::check(&pool).await;
    connections_come_to_rest(&pool).await;
}

/// No statement of the processes is left behind.
async fn connections_come_to_rest(pool: &sqlx::PgPool) {
    eventually("nothing is left running", Duration::from_secs(10), async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'colloquy'
               AND state <> 'idle' AND now() - state_change > interval '2 seconds'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        left == 0
    })
    .await;
}
