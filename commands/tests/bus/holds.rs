//! Holds that grow, that end by themselves, and that are settled late.

use chrono::TimeDelta;
use commands::{AccountExecuted, CommandBus, CommandError};
use domain::ReservationId;
use domain::quota::{Amount, LimitKind, QuotaCommand, QuotaEvent, QuotaRejection, ReserveQuota};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, money, usage};
use crate::world::{MODEL, World, owner, worker};

pub(crate) type Answer = Result<AccountExecuted, CommandError>;

/// Asks for so many more tokens of the answer.
pub(crate) async fn extend(bus: &CommandBus, turn: Turn, answer_tokens: u32) -> Answer {
    let more = QuotaCommand::ReserveQuota(ReserveQuota {
        reservation_id: ReservationId::from(turn.ids.turn_id),
        service: "chat".to_owned(),
        model: MODEL.to_owned(),
        prompt_tokens: 0,
        answer_tokens,
        extends: true,
    });
    bus.execute_quota(&owner(), vec![more], &worker()).await
}

pub(crate) async fn expire(bus: &CommandBus, turn: Turn) -> Answer {
    let reservation_id = ReservationId::from(turn.ids.turn_id);
    let expire = QuotaCommand::ExpireReservation { reservation_id };
    bus.execute_quota(&owner(), vec![expire], &worker()).await
}

fn why(answer: Answer) -> QuotaRejection {
    match answer {
        Err(CommandError::Quota { rejection, .. }) => rejection,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hold_grows_as_long_as_there_is_room_and_is_settled_as_a_whole() {
    let world = World::with(json!({ "tokens_total": 300, "credit_balance": "1" })).await;
    let buses = world.processes(2).await;
    let turn = Turn::new();
    turn.request(&buses[0]).await.unwrap();
    turn.start(&buses[1]).await;
    let grown = extend(&buses[1], turn, 150).await.unwrap();
    assert_eq!(grown.billed.unwrap().events.len(), 1);
    let books = Log::read(&world).await.books();
    assert_eq!(books.held_in_all(), Amount { tokens: 250, credits: money("0.245") });
    // There is room for 50: it takes what there is.
    let last = extend(&buses[0], turn, 51).await.unwrap();
    let QuotaEvent::QuotaReserved { answer_tokens, .. } = last.billed.unwrap().events[0] else {
        panic!()
    };
    assert_eq!(answer_tokens, 50);
    assert!(matches!(
        why(extend(&buses[1], turn, 1).await),
        QuotaRejection::Exceeded { limit: LimitKind::TokensTotal, .. }
    ));

    let done = turn.end(&buses[1], turn.completed(usage(10, 290))).await.unwrap();
    let events = done.billed.unwrap().events;
    let QuotaEvent::QuotaConsumed { overdrawn, amount, .. } = &events[0] else { panic!() };
    assert_eq!((*overdrawn, amount.tokens), (Amount::default(), 300));
    let books = Log::read(&world).await.books();
    assert_eq!((books.balance.tokens, books.held_in_all()), (0, Amount::default()));
    assert_eq!(why(extend(&buses[0], turn, 1).await), QuotaRejection::ReservationNotFound);
}

#[tokio::test]
async fn a_hold_whose_time_is_over_makes_room_and_is_settled_late_all_the_same() {
    let world = World::with(json!({ "tokens_total": 100 })).await;
    let buses = world.processes(2).await;
    let turn = Turn::new();
    turn.request(&buses[0]).await.unwrap();
    turn.start(&buses[0]).await;
    assert_eq!(why(expire(&buses[1], turn).await), QuotaRejection::NotExpired);
    world.clock.advance(TimeDelta::minutes(11));
    // Two sweepers at once: it ends once.
    let (one, other) = tokio::join!(expire(&buses[0], turn), expire(&buses[1], turn));
    let ended = [one, other].map(|answer| answer.unwrap().position.is_some());
    assert_ne!(ended[0], ended[1]);
    let next = Turn::new();
    next.request(&buses[1]).await.unwrap();

    let done = turn.end(&buses[0], turn.completed(usage(10, 20))).await.unwrap();
    let events = done.billed.unwrap().events;
    assert!(matches!(events[0], QuotaEvent::QuotaConsumed { late: true, .. }));
    let books = Log::read(&world).await.books();
    assert_eq!((books.balance.tokens, books.held_in_all().tokens), (70, 100));
}

#[tokio::test]
async fn a_hold_that_expired_has_to_find_room_again_as_a_whole_before_it_grows() {
    let world = World::with(json!({ "tokens_total": 250 })).await;
    let buses = world.processes(2).await;
    let turn = Turn::new();
    turn.request(&buses[0]).await.unwrap();
    turn.start(&buses[0]).await;
    world.clock.advance(TimeDelta::minutes(11));
    expire(&buses[1], turn).await.unwrap();
    let rival = Turn::new();
    rival.request(&buses[1]).await.unwrap();
    extend(&buses[0], turn, 51).await.unwrap();
    assert_eq!(Log::read(&world).await.books().held_in_all().tokens, 250);
}
