//! Many writers with little regard for each other on few streams, while connections are
//! killed; then the log is held against everything that was asked and answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::{AppendCommand, EventStore, Position, StoreError, Verdict};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use crate::checks::{assert_in_order, assert_stands, event_ids, positions, whole_log};
use crate::support::{KIND, command, database, pool, raw, remembered, store, stream};

const STREAMS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STORES: usize = 3;
const WRITERS_OF_A_STORE: usize = 8;
const APPENDS_OF_A_WRITER: u32 = 40;

/// What a writer asked for, and what it was told.
struct Asked {
    command: AppendCommand,
    told: Told,
}

enum Told {
    Verdict(Verdict),
    Refused,
    /// Nobody waited for the answer, or the database was away.
    Unknown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_holds_what_was_acknowledged_and_nothing_else() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let url = database().await;
    let stores: Vec<_> = (0..STORES).map(|_| store(&url)).collect();
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(store(&url), Arc::clone(&over)));
    let killer = tokio::spawn(kill_backends(url.clone(), Arc::clone(&over)));
    let writers = (0..STORES * WRITERS_OF_A_STORE).map(|number| {
        let store = stores[number % STORES].clone();
        tokio::spawn(write(store, number, seed.wrapping_add(number as u64)))
    });
    let asked: Vec<Asked> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    // Those that nobody waited for may still be on their way.
    join_all(stores.iter().map(EventStore::close)).await;
    over.store(true, Ordering::SeqCst);
    killer.await.unwrap();
    let read = reader.await.unwrap();

    let log = whole_log(&store(&url)).await;
    assert_in_order(&log);
    let ids: Vec<_> = log.iter().map(|event| event.event_id).collect();
    assert_eq!(read, ids, "the reader saw the log as it is, without a hole");
    let appended = check(&log, &asked);
    assert!(appended > 100, "only {appended} appends went through");
}

/// Holds the log against each request. Tells how many went through.
fn check(log: &[eventstore::RecordedEvent], asked: &[Asked]) -> usize {
    let mut known = HashSet::new();
    let mut appended = 0;
    for one in asked {
        known.extend(event_ids(&one.command));
        let found = positions(log, &one.command);
        match &one.told {
            Told::Verdict(Verdict::Appended { first, last }) => {
                assert_stands(log, &one.command, *first, *last);
                appended += 1;
            }
            Told::Verdict(Verdict::Duplicate { first, last, outcome }) => {
                check_duplicate(log, asked, &one.command, (*first, *last), outcome.is_some());
            }
            // It may have gone through when it was sent again.
            Told::Verdict(Verdict::Reused | Verdict::Conflict) if tries(asked, one) > 1 => {}
            Told::Verdict(Verdict::Reused | Verdict::Conflict) | Told::Refused => {
                assert!(found.is_empty(), "a refused command left something");
            }
            Told::Unknown if found.is_empty() => {}
            Told::Unknown => {
                assert_stands(log, &one.command, found[0], found[found.len() - 1]);
            }
        }
    }
    assert!(log.iter().all(|event| known.contains(&event.event_id)), "an event nobody asked for");
    appended
}

/// How often the very same command was sent.
fn tries(asked: &[Asked], one: &Asked) -> usize {
    let first = event_ids(&one.command).next();
    asked.iter().filter(|other| event_ids(&other.command).next() == first).count()
}

/// A duplicate's positions hold the very events, or those of the command's first time.
fn check_duplicate(
    log: &[eventstore::RecordedEvent],
    asked: &[Asked],
    command: &AppendCommand,
    (first, last): (Position, Position),
    by_id: bool,
) {
    let id = command.records.first().map(|record| &record.command_id);
    let original = asked.iter().map(|one| &one.command).find(|other| {
        let same = other.records.first().map(|record| &record.command_id) == id;
        let itself = event_ids(other).next() == event_ids(command).next();
        (itself || by_id && same) && positions(log, other).first() == Some(&first)
    });
    let original = original.expect("a duplicate of something that was asked");
    assert_stands(log, original, first, last);
}

async fn write(store: EventStore, writer: usize, seed: u64) -> Vec<Asked> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut asked: Vec<Asked> = Vec::new();
    for number in 0..APPENDS_OF_A_WRITER {
        let command = match random.random_range(0..10) {
            0 if !asked.is_empty() => asked[random.random_range(0..asked.len())].command.clone(),
            _ => invent(&store, &mut random, format!("{writer}-{}", number / 3)).await,
        };
        let patience = match random.random_range(0..6) {
            0 => Duration::from_micros(random.random_range(0..3000)),
            _ => Duration::from_secs(30),
        };
        let told = match timeout(patience, store.append(command.clone())).await {
            Ok(Ok(verdict)) => Told::Verdict(verdict),
            Ok(Err(StoreError::Database { .. })) => Told::Refused,
            Ok(Err(error)) if error.is_unavailable() => Told::Unknown,
            Ok(Err(error)) => panic!("{error:?}"),
            Err(_) => Told::Unknown,
        };
        asked.push(Asked { command, told });
    }
    asked
}

/// A command on one to three streams at about their versions; its id, if it has one, may have
/// been used before, for the same or for something else.
async fn invent(store: &EventStore, random: &mut StdRng, id: String) -> AppendCommand {
    let mut streams = Vec::new();
    let start = random.random_range(0..STREAMS.len());
    for offset in 0..[1, 1, 1, 2, 3][random.random_range(0..5)] {
        let name = STREAMS[(start + offset) % STREAMS.len()];
        let version = version(store, name).await;
        let guess = if random.random_ratio(1, 10) { version + 1 } else { version };
        streams.push(stream(name, guess, random.random_range(1..4)));
    }
    if random.random_ratio(1, 15) {
        streams[0].events[0].payload = "{\"cut".into();
    }
    match random.random_range(0..4) {
        0 => command(streams),
        1 => remembered(&id, "another body", streams),
        _ => remembered(&id, "body", streams),
    }
}

async fn version(store: &EventStore, name: &str) -> i64 {
    let newest = "SELECT coalesce(max(sequence), 0) FROM events
                  WHERE aggregate_type = $1 AND aggregate_id = $2";
    loop {
        let read = sqlx::query_scalar(newest).bind(KIND).bind(name).fetch_one(store.pool()).await;
        if let Ok(version) = read {
            return version;
        }
    }
}

/// Reads on from what it has seen, as projectors and the relay do.
async fn follow(store: EventStore, over: Arc<AtomicBool>) -> Vec<uuid::Uuid> {
    let mut seen = Vec::new();
    let mut next: Position = 1;
    loop {
        let last_round = over.load(Ordering::SeqCst);
        let page = store.read_after(next - 1, 50).await.unwrap_or_default();
        if page.is_empty() && last_round {
            return seen;
        }
        for event in page {
            assert_eq!(event.position, next, "the reader saw a hole");
            next += 1;
            seen.push(event.event_id);
        }
        tokio::task::yield_now().await;
    }
}

/// Cuts one of the writers' connections from time to time.
async fn kill_backends(url: String, over: Arc<AtomicBool>) {
    let mut connection = raw(&url).await;
    while !over.load(Ordering::SeqCst) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                    ORDER BY random() LIMIT 1";
        sqlx::query(kill).execute(&mut connection).await.unwrap();
        sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_later_event_before_an_earlier_one() {
    // Two raw connections that append by the function itself, in transactions they hold open
    // or take back; the reader must never see a position appear behind what it has read.
    let url = database().await;
    let reading = store(&url);
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(reading.clone(), Arc::clone(&over)));
    let writers = (0..4).map(|writer| tokio::spawn(open_transactions(url.clone(), writer)));
    let kept: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    over.store(true, Ordering::SeqCst);
    assert_eq!(reader.await.unwrap().len(), kept);
    let log = whole_log(&reading).await;
    assert_in_order(&log);
    assert_eq!(log.len(), kept, "what was rolled back left neither an event nor a hole");
}

/// Appends in explicit transactions, every third of which is rolled back. Tells how many events
/// were kept.
async fn open_transactions(url: String, writer: u64) -> usize {
    let pool = pool(&url, 1);
    let mut random = StdRng::seed_from_u64(writer);
    let mut kept = 0;
    for number in 0..25 {
        let mut transaction = pool.begin().await.unwrap();
        let id = format!("{writer}-{number}");
        sqlx::query(
            "SELECT * FROM append_events(
                ARRAY['acme'], '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                ARRAY[1], ARRAY['account'], ARRAY[$1], ARRAY[0]::bigint[],
                ARRAY[1, 1], ARRAY[gen_random_uuid(), gen_random_uuid()],
                ARRAY['account', 'account'], ARRAY[$1, $1], ARRAY[1, 2]::bigint[],
                ARRAY['Noted', 'Noted'], ARRAY['1.0', '1.0'], ARRAY['{}', '{}'], ARRAY['{}', '{}'])",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await
        .unwrap();
        sleep(Duration::from_millis(random.random_range(0..4))).await;
        if number % 3 == 0 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            kept += 2;
        }
    }
    kept
}
