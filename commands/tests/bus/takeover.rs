//! Taking a turn over from a worker that was lost: one does, and nobody pays for the loss.

use commands::{CommandBus, CommandError};
use domain::session::{AttemptLimits, LostAttempt, Rejection, SessionCommand};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED};
use crate::world::World;

/// From `attempt`, which had said something and used [`USED`].
pub(crate) fn take_over(turn: Turn, attempt: u32) -> SessionCommand {
    let SessionCommand::ConfirmCancel { completion: partial, .. } = turn.cancelled(USED) else {
        unreachable!()
    };
    SessionCommand::StartAttempt {
        turn_id: turn.ids.turn_id,
        worker_id: "v".parse().unwrap(),
        lost: Some(LostAttempt { attempt, reached: 0, partial }),
    }
}

fn is_superseded(error: &CommandError) -> bool {
    matches!(error, CommandError::Rejected(Rejection::AttemptSuperseded))
}

/// A turn that runs, as two processes know it; both have the start in their caches.
async fn running(world: &World) -> (Turn, Vec<CommandBus>) {
    let buses = world.processes(2).await;
    let turn = Turn::new();
    turn.request(&buses[0]).await.unwrap();
    turn.start(&buses[1]).await;
    for bus in &buses {
        bus.load(turn.session_id).await.unwrap();
    }
    (turn, buses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_take_over_one_does() {
    let world = World::with(json!({ "tokens_total": 1000 })).await;
    let (turn, buses) = running(&world).await;
    let (first, second) = tokio::join!(
        turn.end(&buses[0], take_over(turn, 1)),
        turn.end(&buses[1], take_over(turn, 1))
    );
    let refused: Vec<_> =
        [&first, &second].into_iter().filter_map(|done| done.as_ref().err()).collect();
    assert!(refused.len() == 1 && is_superseded(refused[0]), "{first:?} {second:?}");
    // The one that was lost comes back.
    let late = turn.end(&buses[1], turn.completed(USED)).await;
    assert!(late.as_ref().is_err_and(is_superseded), "{late:?}");
    let log = Log::read(&world).await;
    assert_eq!(log.session(turn)[3..], ["AttemptStarted", "AttemptAbandoned", "AttemptStarted"]);
    assert_eq!(log.books().held_in_all().tokens, 100, "its hold stays");
}

#[tokio::test]
async fn a_turn_that_wore_out_its_workers_lets_its_hold_go() {
    let world = World::with(json!({ "tokens_total": 1000 })).await;
    let (turn, buses) = running(&world).await;
    let limits = AttemptLimits { without_progress: 2, ..AttemptLimits::default() };
    let bus = buses[0].clone().with_attempt_limits(limits);
    turn.end(&bus, take_over(turn, 1)).await.unwrap();
    assert_eq!(Log::read(&world).await.books().held_in_all().tokens, 100);
    turn.end(&bus, take_over(turn, 2)).await.unwrap();
    let log = Log::read(&world).await;
    assert_eq!(log.session(turn)[6..], ["AttemptAbandoned", "TurnFailed"]);
    let books = log.books();
    assert_eq!((books.held_in_all().tokens, books.used_in_all().tokens), (0, 0));
}

/// What had been said is the answer, and is paid once, though the lost worker comes back.
#[tokio::test]
async fn a_stopping_turn_is_ended_for_its_lost_worker() {
    let world = World::with(json!({ "tokens_total": 1000 })).await;
    let (turn, buses) = running(&world).await;
    let stop = SessionCommand::CancelTurn { turn_id: turn.ids.turn_id };
    turn.end(&buses[0], stop).await.unwrap();
    turn.end(&buses[1], take_over(turn, 1)).await.unwrap();
    let late = turn.end(&buses[0], turn.cancelled(USED)).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::TurnFinished))), "{late:?}");
    let log = Log::read(&world).await;
    assert_eq!(log.session(turn)[4..], ["CancelRequested", "TurnCancelled"]);
    let books = log.books();
    assert_eq!((books.held_in_all().tokens, books.used_in_all().tokens), (0, 20));
}
