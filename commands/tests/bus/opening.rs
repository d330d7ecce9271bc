//! An account opens with its first use, once.

use commands::CommandError;
use domain::ReservationId;
use domain::quota::{QuotaCommand, QuotaRejection};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, open_session, recharge};
use crate::world::{World, admin, ann, at_once, owner, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_are_first_it_opens_once() {
    let world = World::with(json!({ "credit_balance": "10" })).await;
    let buses = world.processes(3).await;
    let results = at_once((0..30).map(|number| {
        let bus = buses[number % 3].clone();
        async move { Turn::new().request(&bus).await }
    }))
    .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let log = Log::read(&world).await;
    assert_eq!((log.count("AccountOpened"), log.count("QuotaReserved")), (1, 30));
}

#[tokio::test]
async fn a_first_turn_that_finds_no_room_opens_nothing() {
    let world = World::with(json!({ "tokens_total": 99 })).await;
    let bus = world.process().await;
    assert!(Turn::new().request(&bus).await.is_err());
    assert_eq!(Log::read(&world).await.len(), 0);
    assert!(!bus.account(&owner()).await.unwrap().is_open());
}

#[tokio::test]
async fn an_admin_opens_an_account_before_its_owner_comes() {
    let world = World::with(json!({ "tokens_total": 99 })).await;
    let buses = world.processes(2).await;
    let unknown = buses[0].execute_quota(&owner(), recharge(1, "0"), &admin()).await;
    assert!(matches!(
        unknown,
        Err(CommandError::Quota { rejection: QuotaRejection::AccountNotFound, .. })
    ));
    let open = vec![QuotaCommand::OpenAccount { tier: None }];
    let together = [open, recharge(1, "0")].concat();
    buses[0].execute_quota(&owner(), together, &admin()).await.unwrap();
    Turn::new().request(&buses[1]).await.unwrap();
    assert!(Turn::new().request(&buses[0]).await.is_err());
    assert_eq!(Log::read(&world).await.count("AccountOpened"), 1);
}

#[tokio::test]
async fn a_user_may_not_touch_money_or_another_users_account() {
    let world = World::with(json!({})).await;
    let bus = world.process().await;
    Turn::new().request(&bus).await.unwrap();
    let refused = bus.execute_quota(&owner(), recharge(1, "0"), &ann()).await;
    assert!(matches!(
        refused,
        Err(CommandError::Quota { rejection: QuotaRejection::AdminOnly, .. })
    ));
    let other = (owner().0, "bob".parse().unwrap());
    let refused = bus.execute_quota(&other, recharge(1, "0"), &ann()).await;
    assert!(matches!(
        refused,
        Err(CommandError::Quota { rejection: QuotaRejection::AccountNotFound, .. })
    ));
}

#[tokio::test]
async fn a_turn_from_before_there_were_accounts_ends_without_a_bill() {
    let world = World::with(json!({ "tokens_total": 1000 })).await;
    let bus = world.process().await;
    let session_id = open_session(&bus).await;
    let turn = Turn::of(session_id);
    let release = QuotaCommand::ReleaseReservation {
        reservation_id: ReservationId::from(turn.ids.turn_id),
        reason: "cancelled".to_owned(),
    };
    let done = bus.execute_quota(&owner(), vec![release], &worker()).await.unwrap();
    assert_eq!(done.position, None);
    assert_eq!(Log::read(&world).await.count("AccountOpened"), 0);
}
