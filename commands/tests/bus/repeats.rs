//! A command that comes twice under one id has one effect and one answer.

use commands::{CommandBus, CommandError};
use domain::quota::LimitKind;
use serde_json::{Value, json};

use crate::log::Log;
use crate::turns::{Done, Turn, money, recharge, refused_by};
use crate::world::{World, admin_as, ann_as, at_once, owner};

/// The same request, five times over three processes; each with ids of its own, as a client's
/// repeat has them.
async fn five_copies(buses: &[CommandBus], command_id: &str) -> Vec<Done> {
    at_once((0..5).map(|number| {
        let (bus, turn, caller) = (buses[number % 3].clone(), Turn::new(), ann_as(command_id));
        async move { bus.execute(turn.session_id, &turn.complete_this(), &caller).await }
    }))
    .await
}

async fn one_effect_and_one_answer(limits: Value) {
    let world = World::with(limits).await;
    let buses = world.processes(3).await;
    let results = five_copies(&buses, "once").await;

    let all: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|executed| !executed.repeated).count(), 1);
    for executed in &all {
        assert_eq!(executed.reply, all[0].reply);
        assert_eq!(executed.position, all[0].position);
    }
    let log = Log::read(&world).await;
    assert_eq!((log.count("TurnRequested"), log.count("QuotaReserved")), (1, 1));
    // Also much later, and in a process that knows nothing of it.
    let again = five_copies(&world.processes(3).await, "once").await;
    assert!(again.iter().all(|result| result.as_ref().is_ok_and(|executed| executed.repeated)));
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_copies_of_a_request_hold_and_answer_as_one() {
    one_effect_and_one_answer(json!({ "requests_per_minute": 50 })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_copy_took_all_the_room_the_others_still_answer_as_it_did() {
    one_effect_and_one_answer(json!({ "tokens_per_day": 150 })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_many_requests_in_one_process_do_not_disturb_each_other() {
    let world = World::with(json!({ "requests_per_minute": 1000 })).await;
    let bus = world.process().await;
    let results = at_once((0..120).map(|number| {
        let (bus, turn) = (bus.clone(), Turn::new());
        let caller = ann_as(&format!("c-{}", number % 40));
        async move { bus.execute(turn.session_id, &turn.complete_this(), &caller).await }
    }))
    .await;
    let all: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|executed| !executed.repeated).count(), 40);
    for (number, executed) in all.iter().enumerate() {
        assert_eq!(executed.reply, all[number % 40].reply);
    }
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 40);
}

#[tokio::test]
async fn an_id_that_was_used_for_another_request_is_refused() {
    let world = World::with(json!({ "tokens_per_day": 150 })).await;
    let buses = world.processes(2).await;
    let first = Turn::new();
    let caller = ann_as("id");
    buses[0].execute(first.session_id, &first.complete_this(), &caller).await.unwrap();
    for bus in &buses {
        let other = Turn::new();
        // There would be no room for it either; but that is not what is wrong with it.
        let refused = bus.execute(other.session_id, &other.complete("other"), &caller).await;
        assert!(matches!(refused, Err(CommandError::IdReused)), "{refused:?}");
    }
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_may_come_again_under_its_id_when_there_is_room() {
    let world = World::with(json!({ "tokens_total": 100 })).await;
    let buses = world.processes(2).await;
    Turn::new().request(&buses[0]).await.unwrap();
    let (turn, caller) = (Turn::new(), ann_as("patient"));
    let refused = buses[0].execute(turn.session_id, &turn.complete_this(), &caller).await;
    assert_eq!(refused_by(&refused), Some(LimitKind::TokensTotal));
    buses[1].execute_quota(&owner(), recharge(100, "0"), &admin_as("r")).await.unwrap();
    let accepted = buses[0].execute(turn.session_id, &turn.complete_this(), &caller).await;
    assert!(!accepted.unwrap().repeated);
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recharge_that_is_sent_ten_times_is_booked_once() {
    let world = World::with(json!({ "credit_balance": "1" })).await;
    let buses = world.processes(2).await;
    Turn::new().request(&buses[0]).await.unwrap();
    let results = at_once((0..10).map(|number| {
        let bus = buses[number % 2].clone();
        async move { bus.execute_quota(&owner(), recharge(0, "5"), &admin_as("paid-1")).await }
    }))
    .await;
    let all: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|executed| !executed.repeated).count(), 1);
    assert!(all.iter().all(|executed| executed.position == all[0].position));
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaRecharged"), 1);
    assert_eq!(log.books().balance.credits, money("6"));
    let other = buses[1].execute_quota(&owner(), recharge(0, "6"), &admin_as("paid-1")).await;
    assert!(matches!(other, Err(CommandError::IdReused)), "{other:?}");
    assert_eq!(buses[0].account(&owner()).await.unwrap().balance.credits, money("6"));
}
