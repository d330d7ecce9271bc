//! The LLM worker: takes jobs, as many at once as it has room for, and sees each through.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, BrokerError, JobQueue, ReceivedJob};
use commands::CommandBus;
use domain::{Causes, WorkerId};
use eventstore::EventStore;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt;
use crate::catalog::Providers;
use crate::in_work::InWork;
use crate::lease;

/// Between tries while NATS is away.
const RETRY: Duration = Duration::from_millis(500);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Its name in the log; no other process may ever have the same.
    pub id: WorkerId,
    /// Turns at once, for each pool.
    pub concurrency: usize,
    /// How long later deltas are held together.
    pub delta_interval: Duration,
}

/// What every attempt needs.
pub(crate) struct Deps {
    pub(crate) bus: CommandBus,
    pub(crate) broker: Broker,
    pub(crate) providers: Arc<Providers>,
    pub(crate) options: WorkerOptions,
    pub(crate) store: EventStore,
    pub(crate) work: Arc<InWork>,
    /// Ends every attempt at once: the turn goes back.
    pub(crate) abandon: CancellationToken,
}

/// Works until `stop`, then finishes what is in work, until `abandon`.
pub async fn run(
    store: EventStore,
    bus: CommandBus,
    broker: Broker,
    providers: Arc<Providers>,
    options: WorkerOptions,
    stop: CancellationToken,
    abandon: CancellationToken,
) {
    let work = Arc::new(InWork::new(options.id.clone()));
    let deps = Arc::new(Deps { bus, broker, providers, options, store, work, abandon });
    let attempts = TaskTracker::new();
    let (held, has_lease) = watch::channel(false);
    let serve = async {
        serve_pools(&deps, &attempts, has_lease, &stop).await;
        attempts.close();
        attempts.wait().await;
    };
    // The lease and stop signals still count while the last turns finish.
    tokio::select! {
        () = serve => {}
        () = lease::keep(&deps.store, &deps.work, &held) => {}
        () = listen_for_stops(&deps) => {}
    }
    lease::end(&deps.store, &deps.work).await;
}

/// Serves every pool of the catalog, also those that come to it later.
async fn serve_pools(
    deps: &Arc<Deps>,
    attempts: &TaskTracker,
    has_lease: watch::Receiver<bool>,
    stop: &CancellationToken,
) {
    let mut catalog = deps.bus.catalog().changed();
    let mut known = BTreeSet::new();
    let mut pulls = FuturesUnordered::new();
    while !stop.is_cancelled() {
        let pools = catalog.borrow_and_update().catalog.pools.clone();
        for pool in pools {
            if known.insert(pool.clone()) {
                pulls.push(serve_pool(deps, pool, attempts, has_lease.clone(), stop));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = catalog.changed() => {}
            Some(()) = pulls.next() => {}
        }
    }
    while pulls.next().await.is_some() {}
}

/// Takes new turns while there is room, and turns of lost workers beyond that: as many again.
async fn serve_pool(
    deps: &Arc<Deps>,
    pool: String,
    attempts: &TaskTracker,
    has_lease: watch::Receiver<bool>,
    stop: &CancellationToken,
) {
    let queue = |urgent: bool| {
        let slots = Arc::new(Semaphore::new(deps.options.concurrency));
        Pull { deps, pool: &pool, urgent, slots, attempts, has_lease: has_lease.clone(), stop }
    };
    tokio::join!(queue(true).run(), queue(false).run());
}

/// One queue that a worker takes jobs from.
struct Pull<'a> {
    deps: &'a Arc<Deps>,
    pool: &'a str,
    urgent: bool,
    slots: Arc<Semaphore>,
    attempts: &'a TaskTracker,
    has_lease: watch::Receiver<bool>,
    stop: &'a CancellationToken,
}

impl Pull<'_> {
    async fn run(mut self) {
        let mut troubled = false;
        while !self.stop.is_cancelled() {
            if let Err(error) = self.serve(&mut troubled).await {
                if !troubled {
                    tracing::warn!(pool = self.pool, error = %Causes(&error), "no jobs can be had");
                    troubled = true;
                }
                drop(tokio::time::timeout(RETRY, self.stop.cancelled()).await);
            }
        }
    }

    async fn serve(&mut self, troubled: &mut bool) -> Result<(), BrokerError> {
        let broker = &self.deps.broker;
        broker.ensure_streams().await?;
        let mut queue = broker.job_queue(self.pool, self.urgent).await?;
        *troubled = false;
        while !self.stop.is_cancelled() {
            self.take_jobs(&mut queue).await?;
        }
        Ok(())
    }

    async fn take_jobs(&mut self, queue: &mut JobQueue) -> Result<(), BrokerError> {
        let ready = async {
            // A turn that is taken without a lease would be taken away at once.
            drop(self.has_lease.wait_for(|has| *has).await);
            // Ask only for what can be started now; the rest is for other workers.
            drop(self.slots.acquire().await);
        };
        if self.stop.run_until_cancelled(ready).await.is_none() {
            return Ok(());
        }
        let free = self.slots.available_permits().max(1);
        let take = |received: ReceivedJob| {
            let deps = Arc::clone(self.deps);
            // Taken here and now, or the next pull would ask for the same slot again.
            let slot = Arc::clone(&self.slots).try_acquire_owned();
            self.attempts.spawn(async move {
                match slot {
                    Ok(_slot) => attempt::work(&deps, received).await,
                    Err(_) => received.hand_back(Duration::ZERO).await,
                }
            });
        };
        queue.pull(free, self.stop, take).await
    }
}

/// Passes stop signals on. They may be lost; an attempt looks into the log from time to time.
async fn listen_for_stops(deps: &Deps) {
    loop {
        match deps.broker.stop_signals().await {
            Ok(mut signals) => {
                while let Some(turn) = signals.next().await {
                    deps.work.stop(turn);
                }
            }
            Err(error) => tracing::debug!(%error, "no stop signals can be had"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
