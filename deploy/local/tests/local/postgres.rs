//! Postgres: data, crashes, pauses, databases, places.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use local::{DATABASE, LocalError, Postgres, PostgresOptions, Source, TemporaryFolder};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::support::{connect, is_root, number, processes_in, run, until};

#[tokio::test]
async fn a_second_start_finds_data_port_and_password() {
    let folder = TemporaryFolder::new().unwrap();
    let mut first = Postgres::start(PostgresOptions::lasting(folder.path())).await.unwrap();
    let url = first.url(DATABASE);
    run(&mut connect(&first).await, "create table t as select 1::int8 as n").await;
    first.stop().await.unwrap();
    assert_eq!(processes_in(folder.path()), Vec::<String>::new());

    let mut second = Postgres::start(PostgresOptions::lasting(folder.path())).await.unwrap();
    assert_eq!(second.url(DATABASE), url);
    assert_eq!(number(&mut connect(&second).await, "select n from t").await, 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_committed_survives_a_crash() {
    let folder = TemporaryFolder::new().unwrap();
    let mut postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    let (url, mut open) = (postgres.url(DATABASE), connect(&postgres).await);
    run(&mut open, "create table t as select 7::int8 as n").await;
    postgres.kill().await.unwrap();
    assert!(!postgres.is_running());
    assert!(sqlx::query("select 1").execute(&mut open).await.is_err());

    postgres.start_again().await.unwrap();
    assert_eq!(postgres.url(DATABASE), url);
    assert_eq!(number(&mut connect(&postgres).await, "select n from t").await, 7);
    assert!(matches!(postgres.start_again().await, Err(LocalError::WrongState { .. })));
    postgres.restart().await.unwrap();
    assert_eq!(number(&mut connect(&postgres).await, "select n from t").await, 7);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_pause_freezes_open_connections() {
    let folder = TemporaryFolder::new().unwrap();
    let mut postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    let mut connection = connect(&postgres).await;
    postgres.pause().await.unwrap();
    let frozen = connection.ping();
    let mut frozen = std::pin::pin!(frozen);
    assert!(timeout(Duration::from_millis(200), &mut frozen).await.is_err());
    postgres.resume().unwrap();
    timeout(Duration::from_secs(5), frozen).await.unwrap().unwrap();

    // A stop must not hang on a paused server.
    postgres.pause().await.unwrap();
    timeout(Duration::from_secs(5), postgres.stop()).await.unwrap().unwrap();
    assert!(matches!(postgres.resume(), Err(LocalError::WrongState { .. })));
}

#[tokio::test]
async fn databases_are_copied_and_dropped_and_settings_apply() {
    let folder = TemporaryFolder::new().unwrap();
    let options = PostgresOptions::temporary(folder.path()).setting("max_connections", "33");
    let mut postgres = Postgres::start(options).await.unwrap();
    let mut connection = connect(&postgres).await;
    assert_eq!(
        number(&mut connection, "select current_setting('max_connections')::int8").await,
        33
    );
    run(&mut connection, "create table t as select 5::int8 as n").await;
    drop(connection);

    // The closed connection may live on in the server for a moment.
    let mut created = postgres.create_database("copy", Some(DATABASE)).await;
    for _ in 0..20 {
        if created.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        created = postgres.create_database("copy", Some(DATABASE)).await;
    }
    created.unwrap();
    let mut copy = PgConnection::connect(&postgres.url("copy")).await.unwrap();
    assert_eq!(number(&mut copy, "select n from t").await, 5);
    let twice = postgres.create_database("copy", None).await.unwrap_err();
    assert!(twice.to_string().contains("already exists"), "{twice}");
    postgres.drop_database("copy").await.unwrap();
    postgres.drop_database("copy").await.unwrap();
    assert!(PgConnection::connect(&postgres.url("copy")).await.is_err());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_a_stale_pid_file_is_not_believed() {
    let folder = TemporaryFolder::new().unwrap();
    let mut first = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    let refused = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap_err();
    assert!(matches!(refused, LocalError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    first.stop().await.unwrap();

    let data = folder.path().join("postgres/data");
    let mut stale = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(data.join("postmaster.pid"), format!("{}\n{}\n", stale.id(), data.display()))
        .unwrap();
    let mut second = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    second.stop().await.unwrap();
    stale.kill().unwrap();
    stale.wait().unwrap();
}

#[tokio::test]
async fn the_fetched_server_works_and_old_data_keeps_its_version() {
    let folder = TemporaryFolder::new().unwrap();
    let mut options = PostgresOptions::temporary(folder.path());
    options.source = Source::Fetched;
    let mut postgres = Postgres::start(options.clone()).await.unwrap();
    assert_eq!(postgres.major_version(), 18);
    let mut connection = connect(&postgres).await;
    run(&mut connection, "create extension vector; create table t (n int8)").await;
    drop(connection);
    postgres.stop().await.unwrap();

    // Whatever else is installed, data of version 18 is opened by version 18.
    options.source = Source::Installed;
    let mut again = Postgres::start(options.clone()).await.unwrap();
    assert_eq!(again.major_version(), 18);
    again.stop().await.unwrap();

    fs::write(folder.path().join("postgres/data/PG_VERSION"), "13\n").unwrap();
    let refused = Postgres::start(options).await.unwrap_err();
    assert!(refused.to_string().contains("made by PostgreSQL 13"), "{refused}");
}

#[tokio::test]
async fn several_servers_start_at_once_and_dropping_one_stops_it() {
    let folders: Vec<_> = (0..3).map(|_| TemporaryFolder::new().unwrap()).collect();
    let started = folders.iter().map(|folder| async {
        Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap()
    });
    let servers: Vec<_> = futures::future::join_all(started).await;
    let mut ports: Vec<u16> = servers.iter().map(Postgres::port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), servers.len());
    drop(servers);
    for folder in &folders {
        until("dropped servers to end", || processes_in(folder.path()).is_empty()).await;
    }
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let folder = TemporaryFolder::new().unwrap();
    let options = PostgresOptions::temporary(folder.path()).setting("shared_buffers", "many");
    let error = Postgres::start(options).await.unwrap_err();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
    assert_eq!(processes_in(folder.path()), Vec::<String>::new());
}

/// A checkout under root's home is out of reach for the user that runs Postgres.
#[tokio::test]
async fn an_unreachable_folder_holds_a_link_to_the_data() {
    if !is_root() {
        return;
    }
    let outer = TemporaryFolder::new().unwrap();
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let folder = outer.path().join("checkout/.colloquy");
    let mut first = Postgres::start(PostgresOptions::temporary(&folder)).await.unwrap();
    run(&mut connect(&first).await, "create table t as select 3::int8 as n").await;
    first.stop().await.unwrap();
    let target = fs::read_link(folder.join("postgres")).unwrap();

    let moved = outer.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    let mut second = Postgres::start(PostgresOptions::temporary(&moved)).await.unwrap();
    assert_eq!(number(&mut connect(&second).await, "select n from t").await, 3);
    second.stop().await.unwrap();
    fs::remove_dir_all(target).unwrap();
    let mode = fs::metadata(outer.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
