//! Room for exactly ten turns, and a thousand that come at once, in three processes.

use commands::CommandError;
use domain::quota::LimitKind;
use serde_json::{Value, json};

use crate::log::Log;
use crate::turns::{Done, Turn, open_session, refused_by};
use crate::world::{World, ann, ann_as, at_once};

const SENDS: usize = 1000;
const ROOM: usize = 10;

/// Sends all of them to new sessions; only ten may get in, and `limit` is why.
async fn only_ten_get_in(limits: Value, limit: LimitKind, remembered: bool) {
    let world = World::with(limits).await;
    let buses = world.processes(3).await;
    let turns: Vec<Turn> = (0..SENDS).map(|_| Turn::new()).collect();
    let sends = turns.iter().zip(0..).map(|(turn, number)| {
        let (bus, turn) = (buses[number % 3].clone(), *turn);
        let caller = if remembered { ann_as(&format!("c-{number}")) } else { ann() };
        async move { bus.execute(turn.session_id, &turn.complete_this(), &caller).await }
    });
    let results = at_once(sends).await;

    assert_admitted(&results, limit);
    let log = Log::read(&world).await;
    // The account opens once; a turn is a hold, and its session's three events.
    assert_eq!(log.len(), 1 + ROOM * 4);
    assert_eq!(log.count("TurnRequested"), ROOM);
    assert_eq!(log.count("QuotaReserved"), ROOM);
    assert_eq!(log.books().held_in_all().tokens, 1000);
    for (turn, result) in turns.iter().zip(&results) {
        assert_eq!(log.session(*turn).is_empty(), result.is_err(), "{result:?}");
    }
    let records = world.number("SELECT count(*) FROM commands WHERE user_id = 'ann'").await;
    assert_eq!(records, if remembered { 10 } else { 0 });
}

/// Ten got in, and all others were refused for want of room, by nothing else.
fn assert_admitted(results: &[Done], limit: LimitKind) {
    let admitted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(admitted, ROOM);
    for result in results {
        match result {
            Ok(executed) => assert!(executed.billed.is_some() && !executed.repeated),
            Err(CommandError::Quota { account, .. }) => {
                assert_eq!(refused_by(result), Some(limit), "{result:?}");
                assert_eq!(account.tier, "free");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_ten_requests_per_minute_exactly_ten_turns_get_in() {
    let limits = json!({ "requests_per_minute": 10 });
    only_ten_get_in(limits, LimitKind::RequestsPerMinute, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_a_days_tokens_for_ten_turns_exactly_ten_get_in() {
    // All but one token of an eleventh.
    let limits = json!({ "tokens_per_day": 1099 });
    only_ten_get_in(limits, LimitKind::TokensPerDay, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_tokens_for_ten_turns_altogether_exactly_ten_get_in() {
    only_ten_get_in(json!({ "tokens_total": 1000 }), LimitKind::TokensTotal, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_a_days_credits_for_ten_turns_exactly_ten_get_in() {
    let limits = json!({ "credits_per_day": "0.95" });
    only_ten_get_in(limits, LimitKind::CreditsPerDay, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_credits_for_ten_turns_exactly_ten_get_in() {
    // All but a millionth of an eleventh.
    let limits = json!({ "credit_balance": "1.044999" });
    only_ten_get_in(limits, LimitKind::CreditBalance, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_limits_the_tightest_decides() {
    let limits = json!({
        "requests_per_minute": 40,
        "tokens_per_day": 2000,
        "tokens_total": 5000,
        "credits_per_day": "1",
        "credits_per_month": "20",
        "credit_balance": "1.1",
    });
    only_ten_get_in(limits, LimitKind::CreditsPerDay, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_to_sessions_that_are_there_share_the_room_too() {
    let world = World::with(json!({ "tokens_per_day": 1000 })).await;
    let buses = world.processes(3).await;
    let opened = at_once((0..SENDS).map(|number| {
        let bus = buses[number % 3].clone();
        async move { open_session(&bus).await }
    }));
    let turns: Vec<Turn> = opened.await.into_iter().map(Turn::of).collect();
    // Each message comes to another process than the one that opened its session.
    let sends = turns.iter().zip(1..).map(|(turn, number)| {
        let (bus, turn) = (buses[number % 3].clone(), *turn);
        async move { bus.execute(turn.session_id, &turn.send("hello"), &ann()).await }
    });
    let results = at_once(sends).await;

    assert_admitted(&results, LimitKind::TokensPerDay);
    let log = Log::read(&world).await;
    assert_eq!(log.len(), SENDS + 1 + ROOM * 3);
    assert_eq!(log.count("TurnRequested"), ROOM);
}
