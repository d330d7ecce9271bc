//! Turns in a real Postgres: what is told to those who hand them out.

use domain::session::SessionEvent;
use eventstore::Database;

use super::*;
use crate::database_tests::{database, same_in_one_and_in_many};
use crate::event::Event;
use crate::testing::{
    abandoned, at, completed, created, log, released, requested, sent, session, started, turn,
};

/// A session with a turn that was requested at `second`, and what became of it.
fn asked(id: u128, second: i64, then: Vec<SessionEvent>) -> Vec<(u128, SessionEvent)> {
    let mut request = requested(id, id + 1, id + 2);
    if let SessionEvent::TurnRequested { at: requested_at, .. } = &mut request {
        *requested_at = at(second);
    }
    let events = [vec![created(false), sent(id + 1, "a"), request], then].concat();
    events.into_iter().map(|event| (id, event)).collect()
}

/// Turns of every kind, the newest first.
fn story() -> Vec<Event> {
    let turns = [
        asked(60, 9, vec![]),
        asked(50, 8, vec![started(50, 1), completed(50, 52, "hello")]),
        asked(40, 7, vec![started(40, 1), released(40, 1)]),
        asked(30, 6, vec![started(30, 1), abandoned(30, 1)]),
        asked(20, 5, vec![started(20, 1), abandoned(20, 1), started(20, 2)]),
    ];
    log(turns.concat())
}

fn unfinished(id: u128, attempt: u32, worker_id: Option<&str>) -> UnfinishedTurn {
    UnfinishedTurn {
        turn_id: turn(id),
        session_id: session(id),
        tenant_id: "acme".parse().unwrap(),
        pool: "default".to_owned(),
        attempt,
        worker_id: worker_id.map(|worker| worker.parse().unwrap()),
    }
}

#[tokio::test]
async fn turns_in_postgres() {
    let (pool, _postgres, _folder) = database().await;
    assert_eq!(unfinished_turns(&pool, 9).await.unwrap(), (0, vec![]));
    same_in_one_and_in_many::<Turns>(&pool, &story()).await;
    unfinished_turns_are_told(&pool).await;
    lost_attempts_are_kept(&pool).await;
    assert_eq!(waiting_turns(&pool).await.unwrap(), (17, vec![("acme".parse().unwrap(), 3)]));
    let asked = [turn(20), turn(30), turn(50), turn(99)];
    assert_eq!(ended_turns(&pool, &asked).await.unwrap(), [turn(50)]);
    sqlx::query("UPDATE turns SET ended_at = now()").execute(&pool).await.unwrap();
    assert_eq!(unfinished_turns(&pool, 9).await.unwrap(), (17, vec![]));
}

async fn unfinished_turns_are_told(pool: &Database) {
    sqlx::query("UPDATE checkpoints SET position = CASE name WHEN 'turns' THEN 17 ELSE 99 END")
        .execute(pool)
        .await
        .unwrap();
    let all = [
        unfinished(20, 2, Some("w")),
        unfinished(30, 1, None),
        unfinished(40, 1, None),
        unfinished(60, 0, None),
    ];
    assert_eq!(unfinished_turns(pool, 9).await.unwrap(), (17, all.to_vec()));
    assert_eq!(unfinished_turns(pool, 2).await.unwrap(), (17, all[..2].to_vec()));
}

async fn lost_attempts_are_kept(pool: &Database) {
    let query = "SELECT abandoned::text FROM turns ORDER BY requested_at";
    let found: Vec<String> = sqlx::query_scalar(query).fetch_all(pool).await.unwrap();
    let counts = found.iter().map(|text| text.matches("\"worker_lost\"").count());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 0, 0, 0], "{found:?}");
}
