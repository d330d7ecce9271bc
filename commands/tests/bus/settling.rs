//! Turns end: each once, with its bill, whoever is faster.

use commands::CommandError;
use domain::quota::{Amount, QuotaEvent};
use domain::session::{Rejection, SessionCommand};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED, money, usage};
use crate::world::{World, ann, at_once};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_turns_end_in_two_processes_at_once_the_ledger_is_what_was_used() {
    let world = World::with(json!({ "credit_balance": "100", "tokens_total": 100_000 })).await;
    let buses = world.processes(2).await;
    let turns: Vec<Turn> = (0..90).map(|_| Turn::new()).collect();
    at_once(turns.iter().zip(0..).map(|(turn, number)| {
        let (turn, bus) = (*turn, buses[number % 2].clone());
        async move {
            turn.request(&bus).await.unwrap();
            turn.start(&bus).await;
        }
    }))
    .await;
    let held = Log::read(&world).await.books().held_in_all();
    assert_eq!(held, Amount { tokens: 9000, credits: money("8.55") });

    at_once(turns.iter().zip(0..).map(|(turn, number)| {
        let (turn, bus) = (*turn, buses[(number + 1) % 2].clone());
        async move {
            let cancel = SessionCommand::CancelTurn { turn_id: turn.ids.turn_id };
            let last = match number % 3 {
                0 => turn.completed(USED),
                1 => {
                    bus.execute(turn.session_id, &cancel, &ann()).await.unwrap();
                    turn.cancelled(usage(7, 3))
                }
                _ => turn.failed(),
            };
            assert!(turn.end(&bus, last).await.unwrap().billed.is_some());
        }
    }))
    .await;

    let log = Log::read(&world).await;
    let books = log.books();
    assert_eq!(books.held_in_all(), Amount::default());
    assert_eq!(log.count("QuotaConsumed"), 60);
    assert_eq!(log.count("ReservationReleased"), 30);
    // Thirty of 20 tokens, and thirty of 10: 30 * 0.0165 + 30 * 0.0065.
    let used = Amount { tokens: 30 * 30, credits: money("0.69") };
    assert_eq!(books.used_in_all(), used);
    assert_eq!(books.balance.credits, money("99.31"));
    assert_eq!(books.balance.tokens, 100_000 - 900);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_two_processes_end_at_once_ends_and_is_billed_once() {
    let world = World::with(json!({ "credit_balance": "100" })).await;
    let buses = world.processes(2).await;
    let turns: Vec<Turn> = (0..40).map(|_| Turn::new()).collect();
    at_once(turns.iter().map(|turn| {
        let (turn, bus) = (*turn, buses[0].clone());
        async move {
            turn.request(&bus).await.unwrap();
            turn.start(&bus).await;
        }
    }))
    .await;
    let results = at_once(turns.iter().flat_map(|turn| {
        let ends = [(turn.completed(USED), 0), (turn.completed(usage(7, 80)), 1)];
        ends.map(|(word, number)| {
            let (turn, bus) = (*turn, buses[number].clone());
            async move { turn.end(&bus, word).await }
        })
    }))
    .await;

    for rivals in results.chunks(2) {
        assert_eq!(rivals.iter().filter(|result| result.is_ok()).count(), 1, "{rivals:?}");
        let lost = rivals.iter().find_map(|result| result.as_ref().err()).unwrap();
        assert!(matches!(lost, CommandError::Rejected(Rejection::TurnFinished)), "{lost:?}");
    }
    let log = Log::read(&world).await;
    assert_eq!(log.count("TurnCompleted"), 40);
    assert_eq!(log.count("QuotaConsumed"), 40);
    assert_eq!(log.books().held_in_all(), Amount::default());
}

#[tokio::test]
async fn what_was_used_beyond_the_hold_is_charged_in_full() {
    let world = World::with(json!({ "credit_balance": "0.1" })).await;
    let bus = world.process().await;
    let done = Turn::new().whole(&bus, usage(10, 190)).await.unwrap();
    let consumed = done.billed.unwrap().events.into_iter().find_map(|event| match event {
        QuotaEvent::QuotaConsumed { overdrawn, posting, .. } => Some((overdrawn, posting)),
        _ => None,
    });
    let (overdrawn, posting) = consumed.unwrap();
    assert_eq!(overdrawn, Amount { tokens: 100, credits: money("0.1") });
    assert_eq!(posting.balance.credits, money("-0.095"));
    assert!(Turn::new().request(&bus).await.is_err());
    Log::read(&world).await;
}
