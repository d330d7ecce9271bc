//! Callers that leave, and a database that goes away.

use std::time::Duration;

use commands::CommandError;
use domain::quota::{Amount, LimitKind};
use serde_json::json;

use crate::log::Log;
use crate::server::Server;
use crate::turns::{Done, Turn, USED, money, refused_by};
use crate::world::{World, ann_as, at_once, eventually, in_time};

#[tokio::test]
async fn what_was_sent_happens_though_its_caller_left() {
    let world = World::with(json!({ "tokens_total": 2000 })).await;
    let bus = world.process().await;
    Turn::new().request(&bus).await.unwrap();
    for number in 0..10 {
        let (turn, caller) = (Turn::new(), ann_as(&number.to_string()));
        let command = turn.complete_this();
        let mut sending = Box::pin(bus.execute(turn.session_id, &command, &caller));
        // It is on its way after its first step; then the caller goes.
        assert!(futures::poll!(sending.as_mut()).is_pending());
        drop(sending);
    }
    let reserved = "SELECT count(*) FROM events WHERE event_type = 'QuotaReserved'";
    eventually("all turns", async || world.number(reserved).await == 11).await;

    let next = Turn::new();
    next.whole(&bus, USED).await.unwrap();
    let caller = ann_as("3");
    let turn = Turn::new();
    let again = bus.execute(turn.session_id, &turn.complete_this(), &caller).await;
    assert!(again.unwrap().repeated);
    let books = Log::read(&world).await.books();
    assert_eq!(books.held_in_all().tokens, 1100);
    assert_eq!(books.used_in_all().tokens, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_the_account_right() {
    let world = World::with(json!({ "tokens_total": 5000 })).await;
    let buses = world.processes(2).await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let bus = buses[number % 2].clone();
            tokio::spawn(async move { Turn::new().request(&bus).await })
        })
        .collect();
    for task in tasks.iter().step_by(3) {
        tokio::task::yield_now().await;
        task.abort();
    }
    for task in tasks {
        drop(task.await);
    }
    // What is left of the room is what can be had, in each process.
    for bus in &buses {
        while Turn::new().request(bus).await.is_ok() {}
        let refused = Turn::new().request(bus).await;
        assert_eq!(refused_by(&refused), Some(LimitKind::TokensTotal));
    }
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaReserved"), 50);
}

fn failed_with_the_store(results: &[Done]) {
    for result in results {
        assert!(matches!(result, Err(CommandError::Store(_))), "{result:?}");
    }
}

/// Its own server, which is stopped. A store tries for ten seconds before it gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_all_are_told_so_and_after_it_all_works() {
    let mut server = Server::start().await;
    let world = World::on(server.database().await, json!({ "tokens_total": 5000 }));
    let (known, unknown) = (world.process().await, world.process().await);
    let running = Turn::new();
    running.request(&known).await.unwrap();
    running.start(&known).await;

    server.postgres.stop().await.unwrap();
    let results = at_once((0..30).map(|number| {
        // One knows the account and only appends; the other has to read it first.
        let bus = if number % 2 == 0 { known.clone() } else { unknown.clone() };
        async move { Turn::new().request(&bus).await }
    }));
    // Those who came second don't wait twice as long.
    let results = in_time("all to be told", Duration::from_secs(17), results).await;
    failed_with_the_store(&results);

    server.postgres.start_again().await.unwrap();
    for bus in [&known, &unknown] {
        let sent = in_time("a turn", Duration::from_secs(10), Turn::new().request(bus)).await;
        assert!(sent.is_ok(), "{sent:?}");
    }
    running.end(&known, running.completed(USED)).await.unwrap();
    let log = Log::read(&world).await;
    assert_eq!((log.count("QuotaReserved"), log.count("TurnRequested")), (3, 3));
    assert_eq!(log.books().held_in_all(), Amount { tokens: 200, credits: money("0.19") });
}

/// A restart is shorter than a store's patience: nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_and_comes_back_loses_and_doubles_nothing() {
    let mut server = Server::start().await;
    let world = World::on(server.database().await, json!({ "tokens_total": 100_000 }));
    let buses = world.processes(2).await;
    Turn::new().request(&buses[0]).await.unwrap();
    Turn::new().request(&buses[1]).await.unwrap();
    let sends: Vec<_> = (0..100)
        .map(|number| {
            let (bus, turn) = (buses[number % 2].clone(), Turn::new());
            let caller = ann_as(&number.to_string());
            tokio::spawn(async move {
                let sent = bus.execute(turn.session_id, &turn.complete_this(), &caller).await;
                (turn, sent)
            })
        })
        .collect();
    server.postgres.kill().await.unwrap();
    server.postgres.start_again().await.unwrap();
    let (mut accepted, mut unsure) = (0, Vec::new());
    for (number, send) in sends.into_iter().enumerate() {
        match send.await.unwrap() {
            (_, Ok(_)) => accepted += 1,
            (turn, Err(CommandError::Store(_))) => unsure.push((number, turn)),
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    // Who was told of trouble asks again under the same id.
    for (number, turn) in &unsure {
        let caller = ann_as(&number.to_string());
        let again = buses[0].execute(turn.session_id, &turn.complete_this(), &caller).await;
        assert!(again.is_ok(), "{again:?}");
    }
    assert_eq!(accepted + unsure.len(), 100);
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 102);
}
