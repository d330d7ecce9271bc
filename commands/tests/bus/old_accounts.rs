//! An account with very many turns behind it.

use std::sync::Arc;

use commands::{ReplayRange, replay_account};
use domain::quota::{
    Account, ConsumeQuota, QUOTA, QuotaCommand, QuotaContext, QuotaEvent, ReserveQuota, decide,
};
use domain::{AccountId, Clock, Ids, ReservationId, SystemIds};
use eventstore::{AppendCommand, NewEvent, StreamAppend};
use serde_json::json;

use crate::log::Log;
use crate::turns::{Turn, USED};
use crate::world::{MODEL, World, at_once, eventually, owner, worker};

const SNAPSHOT: &str = "SELECT coalesce(max(version), 0) FROM snapshots";
const VERSION: &str = "SELECT max(sequence) FROM events WHERE aggregate_type = 'quota'";

fn account_id() -> AccountId {
    let (tenant_id, user_id) = owner();
    AccountId::of(&tenant_id, &user_id)
}

/// Writes an account's history of so many settled uses.
async fn with_history(world: &World, uses: usize) {
    let bus = world.process().await;
    let context = QuotaContext {
        now: world.clock.now(),
        actor: worker().actor,
        owner: owner(),
        named_tier: None,
        policy: Arc::clone(bus.policy()),
        prices: Arc::clone(&bus.catalog().current().prices),
    };
    let (mut account, mut version) = (Account::default(), 0);
    let mut events = Vec::new();
    for number in 0..uses {
        for command in reserve_and_consume() {
            let decided = decide(&account, &command, &context).unwrap();
            for event in &decided {
                account.apply(event);
            }
            events.extend(decided);
        }
        if events.len() >= 800 || number + 1 == uses {
            let written = std::mem::take(&mut events);
            let count = i64::try_from(written.len()).unwrap();
            world.store.append(appending(&written, version)).await.unwrap();
            version += count;
        }
    }
}

fn reserve_and_consume() -> [QuotaCommand; 2] {
    let entry_id = SystemIds.next();
    let (service, model) = ("chat".to_owned(), MODEL.to_owned());
    [
        QuotaCommand::ReserveQuota(ReserveQuota {
            reservation_id: ReservationId(entry_id),
            service: service.clone(),
            model: model.clone(),
            prompt_tokens: 10,
            answer_tokens: 90,
            extends: false,
        }),
        QuotaCommand::ConsumeQuota(ConsumeQuota {
            entry_id,
            reservation_id: Some(ReservationId(entry_id)),
            turn_id: None,
            service,
            model,
            usage: USED,
        }),
    ]
}

fn appending(events: &[QuotaEvent], version: i64) -> AppendCommand {
    let new_event = |event: &QuotaEvent| NewEvent {
        event_id: SystemIds.next(),
        event_type: event.name(),
        event_version: "1.0".to_owned(),
        payload: serde_json::to_string(event).unwrap().into(),
        metadata: "{}".into(),
    };
    let stream = StreamAppend {
        aggregate_type: QUOTA,
        aggregate_id: account_id().to_string(),
        expected_version: version,
        events: events.iter().map(new_event).collect(),
    };
    AppendCommand { tenant_id: "acme".to_owned(), records: Vec::new(), streams: vec![stream] }
}

/// The fold of the whole stream.
async fn folded(world: &World) -> Account {
    let loaded = world.store.load::<Account>(&account_id().to_string(), 0).await.unwrap();
    Account::fold(loaded.iter().map(|loaded| &loaded.event))
}

/// Waits for a snapshot that leaves less than 256 events behind it.
async fn until_snapshot(world: &World) {
    eventually("a new snapshot", async || {
        world.number(VERSION).await - world.number(SNAPSHOT).await < 256
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_turns_later_a_process_reads_a_snapshot_and_a_few_events() {
    let world =
        World::with(json!({ "tokens_total": 1_000_000_000, "credits_per_month": "1000" })).await;
    with_history(&world, 20_000).await;
    let first = world.process().await;
    Turn::new().whole(&first, USED).await.unwrap();
    until_snapshot(&world).await;
    let (before, start) = (world.number(SNAPSHOT).await, world.number(VERSION).await);

    // It goes on, and so do the snapshots.
    at_once((0..200).map(|_| {
        let bus = first.clone();
        async move { Turn::new().whole(&bus, USED).await.unwrap() }
    }))
    .await;
    assert_eq!(world.number(VERSION).await, start + 400);
    until_snapshot(&world).await;
    assert!(world.number(SNAPSHOT).await > before);

    let all = folded(&world).await;
    assert_eq!(all.used.tokens, 20_201 * 20);
    assert_eq!(*first.account(&owner()).await.unwrap(), all);
    // What lies behind the snapshot is not even looked at: nobody could read it any more.
    world
        .run(
            "ALTER TABLE events DISABLE TRIGGER events_append_only;
             UPDATE events SET payload = '{\"Gone\":{}}'
             WHERE aggregate_type = 'quota'
               AND sequence <= (SELECT version FROM snapshots WHERE aggregate_type = 'quota');
             ALTER TABLE events ENABLE TRIGGER events_append_only",
        )
        .await;
    let fresh = world.process().await;
    assert_eq!(*fresh.account(&owner()).await.unwrap(), all);
    // Nor does an audit of it; what it shows is the log's own text.
    let range = ReplayRange { as_of: i64::MAX, after: 0, limit: 10 };
    let audit = replay_account(&world.store, account_id(), range).await.unwrap();
    assert_eq!((audit.version, audit.state), (start + 400, all));
    assert_eq!((audit.events.len(), audit.has_more), (10, true));
    let done = Turn::new().request(&world.process().await).await.unwrap();
    assert_eq!(done.billed.unwrap().account.balance.tokens, 1_000_000_000 - 20_201 * 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_tampered_with_is_not_believed() {
    let world = World::with(json!({ "tokens_total": 1000 * 20 + 100 })).await;
    with_history(&world, 1000).await;
    let first = world.process().await;
    Turn::new().request(&first).await.unwrap();
    assert!(Turn::new().request(&first).await.is_err());
    until_snapshot(&world).await;
    let taken = world.number(SNAPSHOT).await;
    assert_eq!(taken, world.number(VERSION).await, "taken after the turn");
    // Somebody gives themselves a fortune.
    world
        .run(
            "UPDATE snapshots SET state =
                 jsonb_set(state::jsonb, '{balance,tokens}', '999999')::json",
        )
        .await;
    let fresh = world.process().await;
    assert!(Turn::new().request(&fresh).await.is_err());
    let account = fresh.account(&owner()).await.unwrap();
    assert_eq!(*account, folded(&world).await);
    assert_eq!((account.balance.tokens, account.held.tokens), (100, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_several_processes_are_folds_of_what_the_log_has() {
    let world =
        World::with(json!({ "tokens_total": 1_000_000_000, "requests_per_minute": 5000 })).await;
    let buses = world.processes(3).await;
    for _ in 0..3 {
        at_once((0..160).map(|number| {
            let bus = buses[number % 3].clone();
            async move { Turn::new().whole(&bus, USED).await.unwrap() }
        }))
        .await;
        until_snapshot(&world).await;
        let shape = "account-1";
        let id = account_id().to_string();
        let snapshot = world.store.load_snapshot::<Account>(QUOTA, &id, shape).await.unwrap();
        let snapshot = snapshot.unwrap();
        let events = Log::read(&world).await.account();
        let until = usize::try_from(snapshot.version).unwrap();
        assert!(until <= events.len(), "ahead of the log");
        assert_eq!(snapshot.state, Account::fold(&events[..until]));
    }
}
