//! Writers that are processes of their own and are killed without warning: what they were told
//! is in the log, and what is in the log is whole.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use eventstore::Verdict;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::checks::{assert_in_order, whole_log};
use crate::support::{command, database, event, store, stream};

const URL: &str = "COLLOQUY_TEST_WRITER_URL";
const PROCESSES: usize = 3;
/// Acknowledgements of a writer before it is killed.
const ENOUGH: usize = 40;

/// Not a test by itself: the body of the other processes, which never ends.
#[tokio::test]
async fn writer_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = store(&url);
    let mut versions = [0_i64; 4];
    for round in 0.. {
        let both = [round % 4, (round + 1) % 4];
        let streams = both.map(|number| stream(&format!("s{number}"), versions[number], 2));
        let mut append = command(streams.to_vec());
        append.streams[0].events.push(event(&"x".repeat(2000)));
        let ids: Vec<Uuid> = crate::checks::event_ids(&append).collect();
        match store.append(append).await.unwrap() {
            Verdict::Appended { first, last } => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nack {first} {last} {}", serde_json::to_string(&ids).unwrap())
                    .unwrap();
                out.flush().unwrap();
                versions[both[0]] += 3;
                versions[both[1]] += 2;
            }
            Verdict::Conflict => {
                for (number, version) in versions.iter_mut().enumerate() {
                    let id = format!("s{number}");
                    let newest = "SELECT coalesce(max(sequence), 0) FROM events
                                  WHERE aggregate_id = $1";
                    let read = sqlx::query_scalar(newest).bind(id).fetch_one(store.pool());
                    *version = read.await.unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

struct Ack {
    first: i64,
    last: i64,
    ids: Vec<Uuid>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_leave_whole_commands_and_every_acknowledged_one() {
    let url = database().await;
    let writers = (0..PROCESSES).map(|_| tokio::spawn(run_and_kill(url.clone())));
    let acks = futures::future::join_all(writers).await;
    let acks: Vec<Ack> = acks.into_iter().flat_map(Result::unwrap).collect();
    assert!(acks.len() >= PROCESSES * ENOUGH);

    let store = store(&url);
    let log = whole_log(&store).await;
    assert_in_order(&log);
    for ack in &acks {
        let span = usize::try_from(ack.first - 1).unwrap()..usize::try_from(ack.last).unwrap();
        let found: Vec<Uuid> = log[span].iter().map(|event| event.event_id).collect();
        assert_eq!(found, ack.ids);
    }
    // Each command has five events; none is there in part.
    assert_eq!(log.len() % 5, 0);
}

/// Lets a writer collect acknowledgements, kills it, and reads what it was still told.
async fn run_and_kill(url: String) -> Vec<Ack> {
    let mut writer = start(&url);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut acks = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(ack) = line.strip_prefix("ack ") {
                acks.push(parse(ack));
            }
            if acks.len() == ENOUGH {
                writer.start_kill().unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("a writer gets on");
    writer.wait().await.unwrap();
    acks
}

fn start(url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writers::writer_process", "--nocapture"])
        .env(URL, url)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn parse(ack: &str) -> Ack {
    let mut fields = ack.splitn(3, ' ');
    let mut next = || fields.next().unwrap();
    Ack {
        first: next().parse().unwrap(),
        last: next().parse().unwrap(),
        ids: serde_json::from_str(next()).unwrap(),
    }
}
