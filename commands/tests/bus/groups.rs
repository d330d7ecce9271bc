//! What waits together goes into one append; what is wrong with one of them is its own affair.

use commands::{CommandBus, CommandError};
use domain::SessionId;
use domain::quota::{QuotaCommand, QuotaRejection};
use domain::session::{Rejection, SessionCommand, UpdateSession};
use serde_json::json;

use crate::gate::{Sending, all_of, as_a_group, message, send, sessions};
use crate::log::Log;
use crate::turns::{Turn, money, recharge};
use crate::world::{World, admin, ann, owner};

/// Turns in the account's largest append.
const LARGEST: &str = "SELECT count(*) FROM events WHERE event_type = 'QuotaReserved'
                       GROUP BY xmin::text ORDER BY 1 DESC LIMIT 1";

fn rename() -> SessionCommand {
    let title = Some(Some("moved".to_owned()));
    SessionCommand::UpdateSession(UpdateSession { title, ..UpdateSession::default() })
}

#[tokio::test]
async fn what_waits_for_one_account_goes_in_one_append() {
    let world = World::with(json!({ "tokens_total": 100_000 })).await;
    let bus = world.process().await;
    let sends = sessions(&bus, 20).await.into_iter().map(message).collect();
    let results = all_of(&world, &bus, sends).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(world.number(LARGEST).await, 20);
    Log::read(&world).await;
}

#[tokio::test]
async fn a_session_that_another_process_has_moved_is_decided_again_and_the_others_go_on() {
    let world = World::with(json!({ "tokens_total": 100_000 })).await;
    let buses = world.processes(2).await;
    let sessions = sessions(&buses[0], 6).await;
    // The other process renames one, and starts a turn in another.
    buses[1].execute(sessions[2], &rename(), &ann()).await.unwrap();
    let busy = Turn::of(sessions[4]);
    buses[1].execute(sessions[4], &busy.send("first"), &ann()).await.unwrap();

    let sends: Vec<_> = sessions.iter().copied().map(message).collect();
    let turns: Vec<Turn> = sends.iter().map(|(turn, ..)| *turn).collect();
    let results = all_of(&world, &buses[0], sends).await;

    for (number, (turn, result)) in turns.iter().zip(&results).enumerate() {
        match number {
            4 => assert!(matches!(
                result,
                Err(CommandError::Rejected(Rejection::TurnInProgress(running)))
                    if *running == busy.ids.turn_id
            )),
            _ => assert_eq!(result.as_ref().unwrap().reply.turn_id, Some(turn.ids.turn_id)),
        }
    }
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaReserved"), 2 + 6);
    let renamed = ["SessionCreated", "SessionRenamed", "MessageSent", "TurnRequested"];
    assert_eq!(log.session(turns[2]), renamed);
    assert_eq!(log.session(turns[4]), ["SessionCreated", "MessageSent", "TurnRequested"]);
}

#[tokio::test]
async fn when_the_account_and_a_session_have_moved_all_find_their_way() {
    let world = World::with(json!({ "tokens_total": 1200 })).await;
    let buses = world.processes(2).await;
    let sessions = sessions(&buses[0], 8).await;
    let rename = rename();
    let sends = sessions.iter().map(|id| send(&buses[0], message(*id))).collect();
    // While the group is under way the other process uses the same account, too: there is
    // room for twelve turns, and two are there before these.
    let results = as_a_group(&world, &buses[0], sends, async || {
        for session in &sessions[..4] {
            buses[1].execute(*session, &rename, &ann()).await.unwrap();
            drop(Turn::new().request(&buses[1]).await);
        }
    })
    .await;
    assert!(results.iter().all(|result| match result {
        Ok(_) | Err(CommandError::Quota { .. }) => true,
        Err(_) => false,
    }));
    let log = Log::read(&world).await;
    assert_eq!(log.count("QuotaReserved"), 12);
}

/// Several commands of an admin in one order, as the bus carries them out.
fn administered(
    bus: &CommandBus,
    commands: Vec<QuotaCommand>,
) -> Sending<Result<(), CommandError>> {
    let bus = bus.clone();
    Box::pin(async move { bus.execute_quota(&owner(), commands, &admin()).await.map(drop) })
}

/// A turn, of which no more is wanted than whether it got in.
fn sent(bus: &CommandBus, session: SessionId) -> Sending<Result<(), CommandError>> {
    let sending = send(bus, message(session));
    Box::pin(async move { sending.await.map(drop) })
}

#[tokio::test]
async fn an_order_of_several_commands_counts_as_a_whole_or_not_for_those_behind_it() {
    let world = World::with(json!({ "credit_balance": "1" })).await;
    let bus = world.process().await;
    let sessions = sessions(&bus, 1).await;
    let (tier, reason) = ("gold".to_owned(), String::new());
    let unknown = QuotaCommand::ChangeTier { tier, reason };
    let group = vec![
        administered(&bus, recharge(0, "1")),
        administered(&bus, [recharge(0, "5"), vec![unknown]].concat()),
        sent(&bus, sessions[0]),
        administered(&bus, recharge(0, "2")),
    ];
    let results = as_a_group(&world, &bus, group, async || {}).await;
    assert!(matches!(
        results[1],
        Err(CommandError::Quota { rejection: QuotaRejection::UnknownTier(..), .. })
    ));
    assert!([0, 2, 3].into_iter().all(|number| results[number].is_ok()), "{results:?}");
    assert_eq!(Log::read(&world).await.books().balance.credits, money("4"));
}

#[tokio::test]
async fn an_order_without_a_session_does_not_notice_that_anothers_has_moved() {
    let world = World::with(json!({ "credit_balance": "1" })).await;
    let buses = world.processes(2).await;
    let sessions = sessions(&buses[0], 1).await;
    buses[1].execute(sessions[0], &rename(), &ann()).await.unwrap();
    let group = vec![
        administered(&buses[0], recharge(0, "1")),
        sent(&buses[0], sessions[0]),
        administered(&buses[0], recharge(0, "2")),
    ];
    let results = as_a_group(&world, &buses[0], group, async || {}).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(Log::read(&world).await.books().balance.credits, money("4"));
}

#[tokio::test]
async fn what_the_database_refuses_fails_alone() {
    let world = World::with(json!({ "tokens_total": 100_000 })).await;
    let bus = world.process().await;
    let sessions = sessions(&bus, 5).await;
    world
        .run(
            "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'poison'; END $$;
             CREATE TRIGGER refuse_poison BEFORE INSERT ON events FOR EACH ROW
             WHEN (NEW.payload::text LIKE '%poison%') EXECUTE FUNCTION refuse_poison();",
        )
        .await;
    let mut sends: Vec<_> = sessions.into_iter().map(message).collect();
    sends[2].1 = sends[2].0.send("poison");
    let poisoned = sends[2].0;
    let results = all_of(&world, &bus, sends).await;
    for (number, result) in results.iter().enumerate() {
        match (number, result) {
            (2, Err(CommandError::Store(_))) => {}
            (_, result) => assert!(number != 2 && result.is_ok(), "{number}: {result:?}"),
        }
    }
    let log = Log::read(&world).await;
    assert_eq!(log.session(poisoned), ["SessionCreated"]);
    assert_eq!(log.count("QuotaReserved"), 2 + 4);
}
