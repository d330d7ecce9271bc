//! Commands with ids in a group: what is known already is found out, and nobody else's affair.

use commands::CommandError;
use serde_json::json;

use crate::gate::{all_of, completion, sessions};
use crate::log::Log;
use crate::turns::Turn;
use crate::world::{World, ann, ann_as};

#[tokio::test]
async fn what_is_known_already_does_not_hold_the_others_of_its_group() {
    let world = World::with(json!({ "tokens_total": 100_000 })).await;
    let buses = world.processes(2).await;
    sessions(&buses[0], 0).await;
    let before = completion(ann_as("before"));
    let first = buses[1].execute(before.0.session_id, &before.1, &before.2).await.unwrap();
    let other = Turn::new();
    buses[1].execute(other.session_id, &other.complete("other"), &ann_as("other")).await.unwrap();

    let ids = ["a", "before", "b", "other", "c", "c", "d"];
    let sends = ids.map(|id| completion(ann_as(id))).to_vec();
    let results = all_of(&world, &buses[0], sends).await;

    let repeated = |number: usize| results[number].as_ref().unwrap().repeated;
    assert_eq!([0, 2, 6].map(repeated), [false; 3]);
    assert!(repeated(1));
    assert_eq!(results[1].as_ref().unwrap().reply, first.reply);
    assert!(matches!(results[3], Err(CommandError::IdReused)), "{:?}", results[3]);
    assert_ne!(repeated(4), repeated(5));
    let reply = |number: usize| results[number].as_ref().unwrap().reply.clone();
    assert_eq!(reply(4), reply(5));
    // One opened the account, one went ahead of the group, two were known, and a, b, c, d.
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 8);
}

#[tokio::test]
async fn commands_with_and_without_an_id_pass_through_one_lane() {
    let world = World::with(json!({ "tokens_total": 2200 })).await;
    let bus = world.process().await;
    sessions(&bus, 0).await;
    let caller =
        |number: usize| if number.is_multiple_of(3) { ann() } else { ann_as(&number.to_string()) };
    let sends = (0..40).map(|number| completion(caller(number))).collect();
    let results = all_of(&world, &bus, sends).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaReserved"), 22);
    let positions: Vec<_> = results.iter().flatten().map(|done| done.position.unwrap()).collect();
    for position in positions {
        let turn = format!(
            "SELECT count(*) FROM events
             WHERE position = {position} AND event_type = 'TurnRequested'"
        );
        assert_eq!(world.number(&turn).await, 1);
    }
}

#[tokio::test]
async fn a_repeat_among_commands_without_ids_is_the_only_one_that_is_answered_as_such() {
    let world = World::with(json!({ "tokens_total": 100_000 })).await;
    let buses = world.processes(2).await;
    sessions(&buses[0], 0).await;
    let first = completion(ann_as("once"));
    let first = buses[1].execute(first.0.session_id, &first.1, &first.2).await.unwrap();
    let sends = [ann(), ann_as("once"), ann()].map(completion).to_vec();
    let results = all_of(&world, &buses[0], sends).await;
    let repeated = results.iter().map(|result| result.as_ref().unwrap().repeated);
    assert_eq!(repeated.collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(results[1].as_ref().unwrap().reply, first.reply);
    assert_eq!(Log::read(&world).await.count("QuotaReserved"), 3 + 2);
}
