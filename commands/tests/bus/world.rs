//! A deployment: one database, one clock, rules, and as many processes as a test asks for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use commands::{Caller, CatalogHandle, CommandBus};
use domain::quota::{Limits, QuotaPolicy};
use domain::{Actor, ActorRole, Clock, SystemIds, TenantId, UserId};
use eventstore::EventStore;
use serde_json::Value;

use crate::server::{database, pool};

pub(crate) const MODEL: &str = "m";
pub(crate) const NOON: &str = "2026-03-10T12:00:00Z";

/// A clock that stands until it is set. Clones show the same time, some with an error.
#[derive(Clone)]
pub(crate) struct ManualClock {
    time: Arc<Mutex<DateTime<Utc>>>,
    error: TimeDelta,
}

impl ManualClock {
    pub(crate) fn at(time: &str) -> Self {
        Self { time: Arc::new(Mutex::new(utc(time))), error: TimeDelta::zero() }
    }

    /// The same clock, wrong by `error`.
    pub(crate) fn off_by(&self, error: TimeDelta) -> Self {
        Self { time: Arc::clone(&self.time), error }
    }

    pub(crate) fn set(&self, time: &str) {
        *self.time.lock().unwrap() = utc(time);
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        *self.time.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.time.lock().unwrap() + self.error
    }
}

pub(crate) struct World {
    pub(crate) store: EventStore,
    pub(crate) clock: ManualClock,
    url: String,
    policy: Arc<QuotaPolicy>,
}

impl World {
    /// One whose accounts have these limits.
    pub(crate) async fn with(limits: Value) -> Self {
        Self::on(database().await, limits)
    }

    pub(crate) fn on(url: String, limits: Value) -> Self {
        let limits: Limits = serde_json::from_value(limits).unwrap();
        let free = "free".to_owned();
        let policy = QuotaPolicy {
            tiers: [(free.clone(), limits)].into(),
            default_tier: free,
            tenant_default_tiers: [].into(),
            hold: TimeDelta::minutes(10),
            answer_step: 256,
        };
        let store = EventStore::new(pool(&url));
        Self { store, clock: ManualClock::at(NOON), url, policy: Arc::new(policy) }
    }

    /// A new process, with connections and caches of its own.
    pub(crate) async fn process(&self) -> CommandBus {
        self.process_with(self.clock.clone()).await
    }

    /// One whose clock is another.
    pub(crate) async fn process_with(&self, clock: ManualClock) -> CommandBus {
        let (clock, ids) = (Arc::new(clock), Arc::new(SystemIds));
        let store = EventStore::new(pool(&self.url));
        let catalog = CatalogHandle::load(store.clone(), clock.clone(), ids.clone()).await.unwrap();
        CommandBus::new(store, clock, ids, catalog, Arc::clone(&self.policy))
    }

    pub(crate) async fn processes(&self, count: usize) -> Vec<CommandBus> {
        let mut processes = Vec::new();
        for _ in 0..count {
            processes.push(self.process().await);
        }
        processes
    }

    /// Runs a statement on the database.
    pub(crate) async fn run(&self, statement: &str) {
        sqlx::raw_sql(statement).execute(self.store.pool()).await.unwrap();
    }

    /// What a query counts.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.store.pool()).await.unwrap()
    }
}

pub(crate) fn utc(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

/// The account's owner in most tests.
pub(crate) fn owner() -> (TenantId, UserId) {
    (tenant(), "ann".parse().unwrap())
}

/// The owner asks.
pub(crate) fn ann() -> Caller {
    caller("ann", ActorRole::User)
}

/// The owner asks, to be remembered as `command_id`.
pub(crate) fn ann_as(command_id: &str) -> Caller {
    Caller { command_id: Some(command_id.parse().unwrap()), ..ann() }
}

pub(crate) fn admin() -> Caller {
    caller("boss", ActorRole::Admin)
}

pub(crate) fn admin_as(command_id: &str) -> Caller {
    Caller { command_id: Some(command_id.parse().unwrap()), ..admin() }
}

pub(crate) fn worker() -> Caller {
    Caller::system(tenant(), "job")
}

fn caller(user: &str, role: ActorRole) -> Caller {
    Caller {
        actor: Actor { tenant_id: tenant(), user_id: user.parse().unwrap(), role },
        named_tier: None,
        command_id: None,
        remembered_as: None,
        correlation_id: "request".to_owned(),
    }
}

/// Runs all of them at once; gives their results in order.
pub(crate) async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let all = futures::future::join_all(tasks);
    let results = in_time("all tasks", Duration::from_secs(30), all).await;
    results.into_iter().map(Result::unwrap).collect()
}

/// The future's result, within `limit`.
pub(crate) async fn in_time<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(limit, future).await;
    result.unwrap_or_else(|_| panic!("still waiting: {what}"))
}

/// Waits until `done` says so, for at most fifteen seconds.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    in_time(what, Duration::from_secs(15), async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
