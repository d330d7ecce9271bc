//! What another process did counts at once, though nobody told this one.

use commands::{CommandBus, CommandError};
use domain::quota::{
    AccountStatus, LimitKind, LimitsPatch, QuotaCommand, QuotaRejection, ResetScope,
};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED, money, recharge, refused_by, usage};
use crate::world::{World, admin, owner};

async fn administer(bus: &CommandBus, command: QuotaCommand) {
    bus.execute_quota(&owner(), vec![command], &admin()).await.unwrap();
}

fn why() -> String {
    "because".to_owned()
}

#[tokio::test]
async fn after_a_recharge_elsewhere_an_exhausted_account_is_used_at_once() {
    let world = World::with(json!({ "credit_balance": "0.1" })).await;
    let buses = world.processes(2).await;
    Turn::new().request(&buses[0]).await.unwrap();
    for _ in 0..3 {
        let refused = Turn::new().request(&buses[0]).await;
        assert_eq!(refused_by(&refused), Some(LimitKind::CreditBalance));
    }
    buses[1].execute_quota(&owner(), recharge(0, "0.1"), &admin()).await.unwrap();
    Turn::new().request(&buses[0]).await.unwrap();
    assert_eq!(Log::read(&world).await.books().balance.credits, money("0.2"));
}

#[tokio::test]
async fn whatever_makes_room_elsewhere_makes_it_here() {
    let world = World::with(json!({ "tokens_per_day": 100 })).await;
    let buses = world.processes(2).await;
    let first = Turn::new();
    first.request(&buses[0]).await.unwrap();
    assert!(Turn::new().request(&buses[0]).await.is_err());
    // A turn ends there.
    first.start(&buses[1]).await;
    first.end(&buses[1], first.completed(usage(0, 1))).await.unwrap();
    assert!(Turn::new().request(&buses[0]).await.is_err());
    // An admin allows more.
    let limits = LimitsPatch { tokens_per_day: Some(Some(101)), ..LimitsPatch::default() };
    administer(&buses[1], QuotaCommand::OverrideLimits { limits, reason: why() }).await;
    let second = Turn::new();
    second.request(&buses[0]).await.unwrap();
    second.end(&buses[1], Turn::failed(started(second, &buses[1]).await)).await.unwrap();
    Turn::new().request(&buses[0]).await.unwrap();
}

async fn started(turn: Turn, bus: &CommandBus) -> Turn {
    turn.start(bus).await;
    turn
}

#[tokio::test]
async fn after_a_suspension_elsewhere_the_next_turn_is_refused() {
    let world = World::with(json!({ "credit_balance": "10" })).await;
    let buses = world.processes(2).await;
    let running = Turn::new();
    running.request(&buses[0]).await.unwrap();
    running.start(&buses[0]).await;
    administer(&buses[1], QuotaCommand::SuspendQuota { reason: "unpaid".to_owned() }).await;
    let refused = Turn::new().request(&buses[0]).await;
    match refused {
        Err(CommandError::Quota { rejection: QuotaRejection::Suspended(reason), account }) => {
            assert_eq!((reason.as_str(), account.status), ("unpaid", AccountStatus::Suspended));
        }
        other => panic!("{other:?}"),
    }
    // What runs may end, and is charged.
    running.end(&buses[0], running.completed(USED)).await.unwrap();
    administer(&buses[1], QuotaCommand::ActivateQuota { reason: why() }).await;
    Turn::new().request(&buses[0]).await.unwrap();
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaReserved"), 2);
    assert_eq!(log.books().balance.credits, money("9.9835"));
}

#[tokio::test]
async fn what_changes_nothing_is_said_of_the_account_as_the_log_has_it() {
    let world = World::with(json!({ "credit_balance": "10" })).await;
    let buses = world.processes(2).await;
    Turn::new().request(&buses[0]).await.unwrap();
    let suspend = || vec![QuotaCommand::SuspendQuota { reason: why() }];
    buses[1].execute_quota(&owner(), suspend(), &admin()).await.unwrap();
    let again = buses[0].execute_quota(&owner(), suspend(), &admin()).await.unwrap();
    assert_eq!((again.position, again.repeated), (None, false));
    administer(&buses[1], QuotaCommand::ActivateQuota { reason: why() }).await;
    // Here it is suspended still; suspending it is no change only if that were true.
    let suspended = buses[0].execute_quota(&owner(), suspend(), &admin()).await.unwrap();
    assert!(suspended.position.is_some());
    assert_eq!(Log::read(&world).await.count("QuotaSuspended"), 2);
}

#[tokio::test]
async fn several_commands_go_together_or_not_at_all() {
    let world = World::with(json!({ "credit_balance": "10" })).await;
    let bus = world.process().await;
    Turn::new().request(&bus).await.unwrap();
    let reset = QuotaCommand::ResetQuota { scope: ResetScope::Day, reason: why() };
    let tier = "gold".to_owned();
    let unknown = QuotaCommand::ChangeTier { tier, reason: why() };
    let both = [recharge(0, "5"), vec![reset.clone(), unknown]].concat();
    let refused = bus.execute_quota(&owner(), both, &admin()).await;
    assert!(matches!(
        refused,
        Err(CommandError::Quota { rejection: QuotaRejection::UnknownTier(..), .. })
    ));
    let before = Log::read(&world).await.len();
    let both = [recharge(0, "5"), vec![reset]].concat();
    bus.execute_quota(&owner(), both, &admin()).await.unwrap();
    let log = Log::read(&world).await;
    assert_eq!(log.len(), before + 2);
    assert_eq!(*bus.account(&owner()).await.unwrap(), log.books().account);
}
