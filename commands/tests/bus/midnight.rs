//! The end of a day, and of a month, while turns come and go in processes whose clocks differ.

use chrono::{NaiveDate, TimeDelta};
use commands::CommandBus;
use domain::quota::{Account, Amount, LimitKind};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED, refused_by, usage};
use crate::world::{World, at_once, owner};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Three processes: one is right, one two seconds slow, one two seconds fast.
async fn with_clocks_that_differ(world: &World) -> Vec<CommandBus> {
    let mut buses = Vec::new();
    for seconds in [0, -2, 2] {
        let clock = world.clock.off_by(TimeDelta::seconds(seconds));
        buses.push(world.process_with(clock).await);
    }
    buses
}

/// Sends turns until the clock has gone from ten seconds before midnight to ten after it; of
/// those that get in, half are answered at once. Gives the others, and by what turns were
/// refused.
async fn over_midnight(world: &World, buses: &[CommandBus]) -> (Vec<Turn>, Vec<LimitKind>) {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let results = at_once((0..15).map(|number| {
            let (turn, bus) = (Turn::new(), buses[number % 3].clone());
            async move {
                let requested = turn.request(&bus).await;
                if requested.is_ok() && number % 2 == 0 {
                    turn.start(&bus).await;
                    turn.end(&bus, turn.completed(USED)).await.unwrap();
                }
                (turn, number, requested)
            }
        }));
        // The clock goes on while they are on their way.
        world.clock.advance(TimeDelta::seconds(1));
        for (turn, number, requested) in results.await {
            match &requested {
                Ok(_) if number % 2 == 1 => open.push(turn),
                Ok(_) => {}
                Err(_) => refused.push(refused_by(&requested).unwrap()),
            }
        }
    }
    (open, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_midnight_neither_day_gives_more_than_its_limit() {
    let world = World::with(json!({ "tokens_per_day": 2000, "credits_per_month": "100" })).await;
    world.clock.set("2026-03-10T23:59:50Z");
    let buses = with_clocks_that_differ(&world).await;
    let (open, refused) = over_midnight(&world, &buses).await;
    assert!(!open.is_empty() && refused.iter().all(|limit| *limit == LimitKind::TokensPerDay));
    assert!(!refused.is_empty());

    // Reading the log has checked each hold against the day that it was made in.
    let before = Log::read(&world).await.books();
    assert_eq!(before.held_in_all().tokens, open.len() as u64 * 100);
    let (first, second) = (day("2026-03-10"), day("2026-03-11"));
    assert_eq!(before.days.keys().collect::<Vec<_>>(), [&first, &second]);
    let Account { day, month, .. } = &*buses[1].account(&owner()).await.unwrap();
    assert_eq!((day.start, day.used), (Some(second), before.days[&second]));
    assert_eq!(month.used, before.used_in_all());

    // What was held yesterday is used when it ends, today.
    settle(&buses, open.clone()).await;
    let after = Log::read(&world).await.books();
    assert_eq!(after.held_in_all(), Amount::default());
    assert_eq!(after.days[&first], before.days[&first]);
    let used = before.days[&second].tokens + open.len() as u64 * 20;
    assert_eq!(after.days[&second].tokens, used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_month_begins_with_what_is_still_held() {
    let world = World::with(json!({ "tokens_per_month": 1500, "tokens_per_day": 1500 })).await;
    world.clock.set("2026-01-31T23:59:50Z");
    let buses = with_clocks_that_differ(&world).await;
    let (open, refused) = over_midnight(&world, &buses).await;
    // Both limits are full at once; the month's, which renews later, is named.
    assert_eq!(refused.first(), Some(&LimitKind::TokensPerMonth));
    settle(&buses, open).await;
    let books = Log::read(&world).await.books();
    assert_eq!(books.held_in_all(), Amount::default());
    let months: Vec<_> = books.months.keys().copied().collect();
    assert_eq!(months, [day("2026-01-01"), day("2026-02-01")]);
    assert_eq!(books.account.month.used, books.months[&months[1]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_clock_is_behind_can_not_use_yesterdays_room() {
    let world = World::with(json!({ "tokens_per_day": 1000 })).await;
    world.clock.set("2026-03-10T23:59:59Z");
    let behind = world.process().await;
    let ahead = world.process_with(world.clock.off_by(TimeDelta::seconds(5))).await;
    for _ in 0..9 {
        Turn::new().whole(&ahead, usage(10, 90)).await.unwrap();
    }
    let results = at_once((0..20).map(|_| {
        let bus = behind.clone();
        async move { Turn::new().request(&bus).await }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let books = Log::read(&world).await.books();
    assert_eq!(books.days.keys().collect::<Vec<_>>(), [&day("2026-03-11")]);
}

async fn settle(buses: &[CommandBus], open: Vec<Turn>) {
    at_once(open.into_iter().zip(0..).map(|(turn, number)| {
        let bus = buses[number % 3].clone();
        async move {
            turn.start(&bus).await;
            turn.end(&bus, turn.completed(USED)).await.unwrap();
        }
    }))
    .await;
}
