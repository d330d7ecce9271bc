//! The ledger's read models in a real Postgres: rows survive the table, and queries sum up
//! what they should.

use chrono::{Days, NaiveDate};
use domain::quota::QuotaEvent;
use domain::{Credits, TenantId};
use eventstore::{Database, EventStore, PoolOptions, connect, migrate_up};
use local::{Postgres, PostgresOptions, TemporaryFolder};

use crate::accounts::Accounts;
use crate::batch::Target;
use crate::event::Event;
use crate::parked::ParkedStreams;
use crate::projection::Projection;
use crate::testing::accounts::{
    account, consumed, credits, crossed, opened, posting, repriced, reserved, suspended,
};
use crate::testing::{Told, at, completed, created, log, requested, sent, started, turn};
use crate::transactions::Transactions;
use crate::turns::Turns;
use crate::usage_daily::UsageDaily;
use crate::{
    ReadModel, RepriceScope, TransactionFilter, TransactionKind, UsageGroup, UsageScope,
    expired_holds, get_account, list_accounts, list_transactions, repriceable, statistics, usage,
};

const DAY: i64 = 86_400;

fn of_bob(mut event: QuotaEvent) -> QuotaEvent {
    if let QuotaEvent::AccountOpened { user_id, .. } = &mut event {
        *user_id = "bob".parse().unwrap();
    }
    event
}

/// Two accounts: one with a turn, two more uses and a corrected price, one with a hold.
fn story() -> Vec<Event> {
    let paid = QuotaEvent::QuotaRecharged {
        entry_id: turn(99).0,
        posting: posting(5, "0.1", "7"),
        reason: "paid".to_owned(),
        by: "root".parse().unwrap(),
        at: at(DAY + 1),
    };
    let told: Vec<(u128, Told)> = vec![
        (1, opened().into()),
        (1, reserved(20, 300).into()),
        (5, created(false).into()),
        (5, sent(10, "a").into()),
        (5, requested(20, 10, 11).into()),
        (5, started(20, 1).into()),
        (1, consumed(20, "0.000000000001", at(5)).into()),
        (1, crossed(Some(turn(20))).into()),
        (5, completed(20, 11, "hello").into()),
        (1, consumed(21, "2.5", at(DAY)).into()),
        (1, consumed(22, "1", at(DAY + 1)).into()),
        (1, paid.into()),
        (2, of_bob(opened()).into()),
        (2, reserved(23, 200).into()),
        (2, reserved(24, 900).into()),
        (2, suspended(6, "late\0 payment").into()),
        (1, repriced(21, "0.5", at(DAY)).into()),
    ];
    log(told)
}

/// An own database.
pub(crate) async fn database() -> (Database, Postgres, TemporaryFolder) {
    let folder = TemporaryFolder::new().unwrap();
    let postgres = Postgres::start(PostgresOptions::temporary(folder.path())).await.unwrap();
    postgres.create_database("ledger", None).await.unwrap();
    let pool = connect(&postgres.url("ledger"), &PoolOptions::default()).unwrap();
    migrate_up(&pool).await.unwrap();
    (pool, postgres, folder)
}

/// Folds `story` into the tables of an own database.
async fn filled() -> (Database, Postgres, TemporaryFolder) {
    let (pool, postgres, folder) = database().await;
    let log = story();
    same_in_one_and_in_many::<Turns>(&pool, &log).await;
    same_in_one_and_in_many::<Accounts>(&pool, &log).await;
    same_in_one_and_in_many::<Transactions>(&pool, &log).await;
    same_in_one_and_in_many::<UsageDaily>(&pool, &log).await;
    (pool, postgres, folder)
}

/// One by one, with the rows read back from the table each time, or all at once.
pub(crate) async fn same_in_one_and_in_many<P: Projection>(pool: &Database, log: &[Event]) {
    let table = P::MODEL.name();
    let whole = fold::<P>(pool, &[log]).await;
    sqlx::query(&format!("TRUNCATE {table}")).execute(pool).await.unwrap();
    let single: Vec<&[Event]> = log.chunks(1).collect();
    assert_eq!(fold::<P>(pool, &single).await, whole);
    assert!(!whole.is_empty());
}

async fn fold<P: Projection>(pool: &Database, batches: &[&[Event]]) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap().detach().unwrap();
    for batch in batches {
        let events: Vec<&Event> = batch.iter().collect();
        let target = Target::<P>::live();
        let parked = target.fold(&mut connection, &events, &ParkedStreams::new()).await.unwrap();
        assert!(parked.is_empty(), "{parked:?}");
    }
    let table = P::MODEL.name();
    let query = format!("SELECT t::text FROM {table} t ORDER BY 1");
    sqlx::query_scalar(&query).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn the_ledger_in_postgres() {
    let (pool, _postgres, _folder) = filled().await;
    accounts_are_found(&pool).await;
    lines_are_listed(&pool).await;
    uses_are_summed_up(&pool).await;
    charges_are_what_they_come_to(&pool).await;
    turns_tell_their_cost(&pool).await;
    a_rebuild_that_cannot_read_the_log_changes_nothing(&pool).await;
    a_rebuild_keeps_the_indexes(&pool).await;
}

async fn accounts_are_found(pool: &Database) {
    let row = get_account(pool, account(1)).await.unwrap().unwrap();
    assert_eq!((row.user_id.as_str(), row.next_expiry), ("ann", None));
    assert_eq!(row.state.used.tokens, 24);
    assert!(get_account(pool, account(3)).await.unwrap().is_none());
    let acme: TenantId = "acme".parse().unwrap();
    let first = list_accounts(pool, &acme, None, 1).await.unwrap();
    assert_eq!(first.items[0].user_id.as_str(), "ann");
    let rest = list_accounts(pool, &acme, first.next.as_ref(), 1).await.unwrap();
    assert_eq!(rest.items[0].user_id.as_str(), "bob");
    assert!(rest.next.is_none() && rest.items[0].suspended);
    let other = list_accounts(pool, &"umbrella".parse().unwrap(), None, 9).await.unwrap();
    assert!(other.items.is_empty());
    let expired = expired_holds(pool, at(500), 9).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].user_id.as_str(), expired[0].reservation_id), ("bob", turn(23).into()));
    assert!(expired_holds(pool, at(199), 9).await.unwrap().is_empty());
}

async fn lines_are_listed(pool: &Database) {
    let positions = async |filter: &TransactionFilter, after, limit| {
        let page = list_transactions(pool, account(1), filter, after, limit).await.unwrap();
        let positions: Vec<i64> = page.items.iter().map(|line| line.position).collect();
        (positions, page.next)
    };
    let all = TransactionFilter::default();
    let (first, next) = positions(&all, None, 4).await;
    assert_eq!(first, [1, 7, 10, 11]);
    assert_eq!(positions(&all, next, 4).await, (vec![12, 17], None));
    let newest = TransactionFilter { newest_first: true, ..TransactionFilter::default() };
    let (first, next) = positions(&newest, None, 4).await;
    assert_eq!(first, [17, 12, 11, 10]);
    assert_eq!(positions(&newest, next, 4).await, (vec![7, 1], None));
    let consumption = TransactionFilter {
        kind: Some(TransactionKind::Consumption),
        service: Some("chat".to_owned()),
        model: Some("m-1".to_owned()),
        from: Some(at(6)),
        to: Some(at(DAY + 1)),
        newest_first: false,
    };
    assert_eq!(positions(&consumption, None, 9).await.0, [10]);
}

async fn uses_are_summed_up(pool: &Database) {
    let first = at(0).date_naive();
    let last = first + Days::new(1);
    let scope = UsageScope { tenant_id: "acme".parse().unwrap(), account_id: None };
    let own = UsageScope { account_id: Some(account(1)), ..scope.clone() };
    for scope in [&scope, &own] {
        let days = usage(pool, scope, first, last, UsageGroup::Day).await.unwrap();
        let found: Vec<_> =
            days.iter().map(|line| (line.key.as_str(), line.totals.credits)).collect();
        let expected = [("1970-01-01", credits("0.000000000001")), ("1970-01-02", credits("3"))];
        assert_eq!(found, expected);
        let models = usage(pool, scope, first, first, UsageGroup::Model).await.unwrap();
        assert_eq!((models[0].key.as_str(), models[0].totals.total_tokens), ("m-1", 8));
        let services = usage(pool, scope, last, last, UsageGroup::Service).await.unwrap();
        assert_eq!((services[0].key.as_str(), services[0].totals.requests), ("chat", 2));
    }
    let all = statistics(pool, &own, first, last).await.unwrap();
    assert_eq!(all.totals.credits, credits("3.000000000001"));
    assert_eq!((all.totals.most_tokens, all.active_days), (8, 2));
    assert_eq!((all.tokens_per_request, all.tokens_per_active_day), (Some(8.0), Some(12.0)));
    assert_eq!(all.peak_day.map(|peak| (peak.day, peak.tokens)), Some((last, 16)));
    nothing_used(pool, &scope, first + Days::new(9)).await;
}

async fn nothing_used(pool: &Database, scope: &UsageScope, day: NaiveDate) {
    let none = statistics(pool, scope, day, day).await.unwrap();
    assert_eq!((none.totals.requests, none.totals.credits), (0, Credits::ZERO));
    assert_eq!((none.tokens_per_request, none.peak_day), (None, None));
    assert!(usage(pool, scope, day, day, UsageGroup::Day).await.unwrap().is_empty());
}

async fn charges_are_what_they_come_to(pool: &Database) {
    let scope = RepriceScope {
        tenant_id: None,
        account_id: None,
        service: None,
        model: None,
        from: at(0),
        to: at(2 * DAY),
    };
    let entries = repriceable(pool, &scope, 0, 2).await.unwrap();
    let found: Vec<_> = entries.iter().map(|one| (one.entry_id, one.charged)).collect();
    assert_eq!(found, [(turn(20).0, credits("0.000000000001")), (turn(21).0, credits("2"))]);
    assert_eq!((entries[1].user_id.as_str(), entries[1].consumed_at), ("ann", at(DAY)));
    let rest = repriceable(pool, &scope, entries[1].position, 2).await.unwrap();
    assert_eq!((rest.len(), rest[0].entry_id, rest[0].usage.total_tokens()), (1, turn(22).0, 8));
    let narrow = RepriceScope {
        tenant_id: Some("acme".parse().unwrap()),
        account_id: Some(account(1)),
        service: Some("chat".to_owned()),
        model: Some("m-1".to_owned()),
        from: at(DAY),
        to: at(DAY + 1),
    };
    assert_eq!(repriceable(pool, &narrow, 0, 9).await.unwrap().len(), 1);
    let other = RepriceScope { account_id: Some(account(2)), ..scope };
    assert!(repriceable(pool, &other, 0, 9).await.unwrap().is_empty());
}

async fn turns_tell_their_cost(pool: &Database) {
    let (cost, warnings): (String, String) =
        sqlx::query_as("SELECT credits, quota_warnings::text FROM turns")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(cost, "0.000000000001");
    assert!(warnings.contains("\"warning\""), "{warnings}");
}

/// Trouble in the middle of a rebuild is not the end of the log.
async fn a_rebuild_that_cannot_read_the_log_changes_nothing(pool: &Database) {
    let event = "INSERT INTO events (position, event_id, tenant_id, aggregate_type, aggregate_id,
                                     sequence, event_type, event_version, payload, metadata)
                 VALUES (1, gen_random_uuid(), 'acme', 'other', 'o-1', 1, 'Noted', '1.0', '{}', '{}')";
    sqlx::query(event).execute(pool).await.unwrap();
    let hide = "ALTER TABLE events RENAME COLUMN payload TO hidden";
    sqlx::query(hide).execute(pool).await.unwrap();
    let store = EventStore::new(pool.clone());
    for model in ReadModel::ALL {
        assert!(crate::rebuild(&store, model, |_, _| ()).await.is_err(), "{model}");
    }
    assert!(get_account(pool, account(1)).await.unwrap().is_some());
    let show = "ALTER TABLE events RENAME COLUMN hidden TO payload";
    sqlx::query(show).execute(pool).await.unwrap();
    // What the failed ones have begun is cleared away by the next ones.
    for model in ReadModel::ALL {
        assert_eq!(crate::rebuild(&store, model, |_, _| ()).await.unwrap().position, 1);
    }
}

/// The log holds nothing of theirs: what is made anew from it is, too.
async fn a_rebuild_keeps_the_indexes(pool: &Database) {
    let indexes = async || -> Vec<String> {
        sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
            .fetch_all(pool)
            .await
            .unwrap()
    };
    let before = indexes().await;
    let store = EventStore::new(pool.clone());
    for model in ReadModel::ALL {
        assert_eq!(crate::rebuild(&store, model, |_, _| ()).await.unwrap().parked, 0);
    }
    assert_eq!(indexes().await, before);
    assert!(get_account(pool, account(1)).await.unwrap().is_none());
    eventstore::migrate_down(pool, 4).await.unwrap();
    migrate_up(pool).await.unwrap();
}
