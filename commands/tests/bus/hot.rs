//! One user who sends very much at once: few appends carry it, and no process shuts another out.

use std::time::Duration;

use serde_json::json;

use crate::log::Log;
use crate::turns::{Done, Turn};
use crate::world::{World, at_once, in_time};

/// Appends that touched the account.
const APPENDS: &str =
    "SELECT count(DISTINCT xmin::text) FROM events WHERE aggregate_type = 'quota'";

fn all_got_in(results: &[Done]) {
    let failed = results.iter().find_map(|result| result.as_ref().err());
    assert!(failed.is_none(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_turns_of_one_user_take_few_appends() {
    let world = World::with(json!({ "tokens_total": 1_000_000 })).await;
    let bus = world.process().await;
    let sends = (0..500).map(|_| {
        let bus = bus.clone();
        async move { Turn::new().request(&bus).await }
    });
    all_got_in(&at_once(sends).await);
    let appends = world.number(APPENDS).await;
    assert!(appends < 50, "{appends} appends for 500 turns");
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_one_hot_account_both_finish() {
    let world = World::with(json!({ "tokens_total": 1_000_000 })).await;
    let buses = world.processes(2).await;
    let sends = (0..500).map(|number| {
        let bus = buses[number % 2].clone();
        async move { Turn::new().request(&bus).await }
    });
    all_got_in(&at_once(sends).await);
    let appends = world.number(APPENDS).await;
    assert!(appends < 100, "{appends} appends for 500 turns");
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_sends_without_pause_does_not_shut_another_out() {
    let world = World::with(json!({ "tokens_total": 100_000_000 })).await;
    let buses = world.processes(2).await;
    let busy: Vec<_> = (0..16)
        .map(|_| {
            let bus = buses[0].clone();
            tokio::spawn(async move {
                loop {
                    Turn::new().request(&bus).await.unwrap();
                }
            })
        })
        .collect();
    // One after the other, each against a process whose account is always newer.
    for number in 0..20 {
        let sent = Turn::new().request(&buses[1]);
        let sent = in_time(&format!("turn {number}"), Duration::from_secs(3), sent).await;
        assert!(sent.is_ok(), "{sent:?}");
    }
    for task in busy {
        task.abort();
    }
    Log::read(&world).await;
}
