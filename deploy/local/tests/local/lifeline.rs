//! No server outlives the process that asked for it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use local::{DATABASE, Nats, NatsOptions, Postgres, PostgresOptions, TemporaryFolder};
use rustix::process::{Pid, Signal, getpgid, kill_process};

use crate::support::{connect, is_alive, number, processes_in, run, until};

const FOLDER: &str = "LIFELINE_TEST_FOLDER";

/// Not a test of its own: the parent process that the tests below start and kill.
#[tokio::test]
#[ignore = "run by the other tests as a process of its own"]
async fn parent() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let postgres = Postgres::start(PostgresOptions::temporary(&folder)).await.unwrap();
    let _nats = Nats::start(NatsOptions::temporary(&folder)).await.unwrap();
    let mut connection = connect(&postgres).await;
    run(&mut connection, "create table t as select 9::int8 as n").await;
    println!("ready");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn start_parent(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifeline::parent", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the parent did not start");
    child
}

#[tokio::test]
async fn a_killed_parent_leaves_no_server_and_a_usable_folder() {
    let folder = TemporaryFolder::new().unwrap();
    let mut parent = start_parent(folder.path());
    assert!(processes_in(folder.path()).len() >= 4);
    parent.kill().unwrap();
    parent.wait().unwrap();

    // At once: the next start waits for the old server's end by itself.
    let mut postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    assert_eq!(number(&mut connect(&postgres).await, "select n from t").await, 9);
    postgres.stop().await.unwrap();
    until("the servers to end", || processes_in(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn a_killed_script_takes_its_server_with_it() {
    if Command::new("setpriv").args(["--pdeathsig", "TERM", "true"]).status().is_err() {
        return;
    }
    let folder = TemporaryFolder::new().unwrap();
    let mut nats = Nats::start(NatsOptions::temporary(folder.path())).await.unwrap();
    let server = Pid::from_raw(nats.pid().unwrap().try_into().unwrap()).unwrap();
    let group = getpgid(Some(server)).unwrap();
    assert_ne!(group, getpgid(None).unwrap(), "Ctrl-C would reach the server");
    kill_process(group, Signal::KILL).unwrap();
    until("the server to end", || !is_alive(server)).await;
    assert!(!nats.is_running());
    nats.start_again().await.unwrap();
    nats.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_is_noticed() {
    let folder = TemporaryFolder::new().unwrap();
    let mut postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    let server = Pid::from_raw(postgres.pid().unwrap().try_into().unwrap()).unwrap();
    kill_process(server, Signal::KILL).unwrap();
    until("the death to be seen", || !postgres.is_running()).await;
    postgres.start_again().await.unwrap();
    let url = postgres.url(DATABASE);
    assert!(url.contains(&postgres.port().to_string()));
    postgres.stop().await.unwrap();
}
