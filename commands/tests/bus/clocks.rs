//! Processes whose clocks are an hour apart and jump: what they decide together is right all the
//! same, for time is what the log says it is.

mod acts;
mod apart;
mod steps;

use chrono::TimeDelta;
use commands::CommandError;
use domain::quota::LimitKind;
use domain::session::{OnBusy, Rejection};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use self::acts::{Act, act};
use self::apart::Apart;
use self::steps::{Step, steps};
use crate::log::Log;
use crate::takeover::take_over;
use crate::turns::{Turn, USED, refused_by, usage};
use crate::world::{owner, worker};

/// Small enough to be reached.
const TOKENS: u64 = 700;

#[test]
fn whatever_the_clocks_say_turns_end_once_and_accounts_keep_within_their_limits() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config =
        Config { cases: 10, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let limits = json!({
        "tokens_total": TOKENS, "tokens_per_day": 450, "requests_per_minute": 6,
    });
    let run = |steps: Vec<Step>| {
        runtime.block_on(async {
            let mut apart = Apart::new(limits.clone()).await;
            for step in &steps {
                apart.take(step).await;
            }
            apart.finish().await;
            apart.check().await;
        });
        Ok(())
    };
    TestRunner::new(config).run(&steps(), run).unwrap();
}

/// The day is the account's, not that of whoever asks.
#[tokio::test]
async fn a_day_that_has_begun_for_one_has_begun_for_all() {
    let mut apart = Apart::new(json!({ "tokens_per_day": 220, "tokens_total": TOKENS })).await;
    let [behind, ahead] = &apart.buses[..] else { panic!() };
    Turn::new().whole(behind, usage(10, 90)).await.unwrap();
    Turn::new().whole(behind, usage(10, 90)).await.unwrap();
    assert_eq!(refused_by(&Turn::new().request(behind).await), Some(LimitKind::TokensPerDay));
    // For the other one it is tomorrow, and from then on for both.
    Turn::new().whole(ahead, usage(10, 90)).await.unwrap();
    Turn::new().whole(behind, usage(10, 90)).await.unwrap();
    assert_eq!(refused_by(&Turn::new().request(behind).await), Some(LimitKind::TokensPerDay));
    // Back to yesterday it can't go, whoever's clock says so.
    apart.clocks[1].advance(TimeDelta::hours(-2));
    for bus in &apart.buses {
        assert_eq!(refused_by(&Turn::new().request(bus).await), Some(LimitKind::TokensPerDay));
    }
    let turn = Turn::new();
    apart.clocks[0].advance(TimeDelta::hours(25));
    turn.whole(&apart.buses[0], USED).await.unwrap();
    apart.turns.push(turn);
    let days = Log::read(&apart.world).await.books().days;
    assert_eq!(days.values().map(|day| day.tokens).collect::<Vec<_>>(), [200, 200, 20]);
    apart.check().await;
}

/// Whoever is an hour ahead finds that a stopping turn takes too long and ends it; its worker,
/// for whom no time has passed, tells what it used, which is paid once.
#[tokio::test]
async fn a_stop_that_seems_overdue_is_paid_once_all_the_same() {
    let mut apart = Apart::new(json!({ "tokens_total": TOKENS })).await;
    let (first, next) = (Turn::of(apart.session_id), Turn::of(apart.session_id));
    apart.turns = vec![first, next];
    let [behind, ahead] = &apart.buses[..] else { panic!() };
    act(behind, Act::Send(OnBusy::Refuse), Some(first)).await.unwrap();
    first.start(behind).await;
    act(behind, Act::Send(OnBusy::Interrupt), Some(next)).await.unwrap();
    let waits = act(behind, Act::Start, Some(next)).await;
    assert!(matches!(waits, Err(CommandError::Rejected(Rejection::EarlierTurnStopping))));
    next.start(ahead).await;
    let late = first.end(behind, first.cancelled(USED)).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::TurnFinished))), "{late:?}");
    let session = behind.load(apart.session_id).await.unwrap();
    let settle = domain::billing::settle(&session, first.ids.turn_id, Some(USED));
    for bus in [behind, ahead, behind] {
        bus.execute_quota(&owner(), vec![settle.clone()], &worker()).await.unwrap();
    }
    next.end(behind, next.completed(USED)).await.unwrap();
    assert_eq!(Log::read(&apart.world).await.books().used_in_all().tokens, 40);
    apart.check().await;
}

/// The other way round: who is an hour ahead has asked it to stop, so for those behind it is not
/// overdue for an hour; the stopping turn itself ends at once.
#[tokio::test]
async fn a_stop_from_the_future_is_confirmed_now() {
    let mut apart = Apart::new(json!({ "tokens_total": TOKENS })).await;
    let (first, next) = (Turn::of(apart.session_id), Turn::of(apart.session_id));
    apart.turns = vec![first, next];
    let [behind, ahead] = &apart.buses[..] else { panic!() };
    act(ahead, Act::Send(OnBusy::Refuse), Some(first)).await.unwrap();
    first.start(behind).await;
    act(ahead, Act::Send(OnBusy::Interrupt), Some(next)).await.unwrap();
    first.end(behind, take_over(first, 1)).await.unwrap();
    next.start(behind).await;
    next.end(ahead, next.completed(USED)).await.unwrap();
    assert_eq!(Log::read(&apart.world).await.books().used_in_all().tokens, 40);
    apart.check().await;
}
