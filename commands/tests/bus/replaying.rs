//! What audits are told of an account, whatever its snapshot is.

use commands::{Replay, ReplayRange, replay_account};
use domain::AccountId;
use domain::quota::{Account, QUOTA};
use eventstore::StoreError;
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED};
use crate::world::{World, owner};

fn account_id() -> AccountId {
    let (tenant_id, user_id) = owner();
    AccountId::of(&tenant_id, &user_id)
}

fn range(as_of: i64, after: i64, limit: usize) -> ReplayRange {
    ReplayRange { as_of, after, limit }
}

async fn replayed(world: &World, range: ReplayRange) -> Result<Replay<Account>, StoreError> {
    replay_account(&world.store, account_id(), range).await
}

fn shown(replay: &Replay<Account>) -> (Vec<i64>, bool) {
    (replay.events.iter().map(|event| event.sequence).collect(), replay.has_more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_changes_nothing_of_what_is_told() {
    let world = World::with(json!({ "tokens_total": 1_000_000 })).await;
    assert_eq!(replayed(&world, range(i64::MAX, 0, 5)).await.unwrap().version, 0);
    let bus = world.process().await;
    for _ in 0..6 {
        Turn::new().whole(&bus, USED).await.unwrap();
    }
    let events = Log::read(&world).await.account();
    let (id, count) = (account_id().to_string(), i64::try_from(events.len()).unwrap());
    assert!(count > 10);
    let until = |version: i64| Account::fold(&events[..usize::try_from(version).unwrap()]);
    let positions: Vec<i64> = world
        .store
        .read_stream(QUOTA, &id, 0, 1000)
        .await
        .unwrap()
        .iter()
        .map(|event| event.position)
        .collect();
    let folded = count - 3;
    for snapshot in [0, folded] {
        if snapshot > 0 {
            let state = serde_json::to_string(&until(snapshot)).unwrap();
            world.store.save_snapshot(QUOTA, &id, snapshot, "account-1", &state).await.unwrap();
        }
        for (version, position) in (1..).zip(&positions) {
            let replay = replayed(&world, range(*position, 0, 100)).await.unwrap();
            assert_eq!((replay.version, &replay.state), (version, &until(version)));
            assert_eq!(shown(&replay), ((1..=version).collect(), false));
        }
        for after in [-1, 0, 1, folded - 2, folded - 1, folded, folded + 1, count, count + 5] {
            let replay = replayed(&world, range(i64::MAX, after, 2)).await.unwrap();
            assert_eq!((replay.version, &replay.state), (count, &until(count)));
            let left: Vec<i64> = (after.max(0) + 1..=count).collect();
            let first = left.iter().take(2).copied().collect();
            assert_eq!(shown(&replay), (first, left.len() > 2), "after {after}");
        }
    }

    // What the snapshot has folded is not folded again: nobody could.
    world
        .run(&format!(
            "ALTER TABLE events DISABLE TRIGGER events_append_only;
             UPDATE events SET payload = '{{\"Gone\":{{}}}}'
             WHERE aggregate_type = 'quota' AND sequence <= {folded};
             ALTER TABLE events ENABLE TRIGGER events_append_only",
        ))
        .await;
    let index = usize::try_from(folded).unwrap();
    for (as_of, version) in [(i64::MAX, count), (positions[index], folded + 1)] {
        let replay = replayed(&world, range(as_of, 0, 3)).await.unwrap();
        assert_eq!((replay.version, &replay.state), (version, &until(version)));
        assert_eq!(shown(&replay), (vec![1, 2, 3], true));
    }
    assert!(replayed(&world, range(positions[index - 2], 0, 3)).await.is_err());
}
