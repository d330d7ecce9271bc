//! The LLM worker: takes jobs, as many at once as it has room for, and sees each through.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{Broker, BrokerError, JobQueue, ReceivedJob};
use commands::CommandBus;
use domain::{Causes, TurnId, WorkerId};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt;
use crate::catalog::Providers;

/// Between tries while NATS is away.
const RETRY: Duration = Duration::from_millis(500);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Its name in the log.
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
    /// Turns in work here, and how to stop each.
    pub(crate) running: Mutex<HashMap<TurnId, CancellationToken>>,
    /// Ends every attempt at once: the job goes back.
    pub(crate) abandon: CancellationToken,
}

/// Works until `stop`, then finishes what is in work, until `abandon`.
pub async fn run(
    bus: CommandBus,
    broker: Broker,
    providers: Arc<Providers>,
    options: WorkerOptions,
    stop: CancellationToken,
    abandon: CancellationToken,
) {
    let running = Mutex::default();
    let deps = Arc::new(Deps { bus, broker, providers, options, running, abandon });
    let attempts = TaskTracker::new();
    let listen = stop.run_until_cancelled(listen_for_stops(&deps));
    tokio::join!(serve_pools(&deps, &attempts, &stop), listen);
    attempts.close();
    // Stop signals still count while the last turns finish.
    tokio::select! {
        () = attempts.wait() => {}
        () = listen_for_stops(&deps) => {}
    }
}

/// Serves every pool of the catalog, also those that come to it later.
async fn serve_pools(deps: &Arc<Deps>, attempts: &TaskTracker, stop: &CancellationToken) {
    let mut catalog = deps.bus.catalog().changed();
    let mut known = BTreeSet::new();
    let mut pulls = FuturesUnordered::new();
    while !stop.is_cancelled() {
        let pools = catalog.borrow_and_update().catalog.pools.clone();
        for pool in pools {
            if known.insert(pool.clone()) {
                pulls.push(serve_pool(deps, pool, attempts, stop));
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

async fn serve_pool(
    deps: &Arc<Deps>,
    pool: String,
    attempts: &TaskTracker,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(deps.options.concurrency));
    let mut troubled = false;
    while !stop.is_cancelled() {
        let served = async {
            deps.broker.ensure_streams().await?;
            let mut queue = deps.broker.job_queue(&pool).await?;
            troubled = false;
            take_jobs(deps, &slots, &mut queue, attempts, stop).await
        };
        if let Err(error) = served.await {
            if !troubled {
                tracing::warn!(pool, error = %Causes(&error), "no jobs can be had");
                troubled = true;
            }
            drop(tokio::time::timeout(RETRY, stop.cancelled()).await);
        }
    }
}

async fn take_jobs(
    deps: &Arc<Deps>,
    slots: &Arc<Semaphore>,
    queue: &mut JobQueue,
    attempts: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    while !stop.is_cancelled() {
        // Ask only for what can be started now; the rest is for other workers.
        let Some(Ok(slot)) = stop.run_until_cancelled(slots.acquire()).await else {
            break;
        };
        drop(slot);
        let free = slots.available_permits().max(1);
        let take = |received: ReceivedJob| {
            let deps = Arc::clone(deps);
            // Taken here and now, or the next pull would ask for the same slot again.
            let slot = Arc::clone(slots).try_acquire_owned();
            attempts.spawn(async move {
                match slot {
                    Ok(_slot) => attempt::work(&deps, received).await,
                    Err(_) => received.hand_back(Duration::ZERO).await,
                }
            });
        };
        queue.pull(free, stop, take).await?;
    }
    Ok(())
}

/// Passes stop signals on. They may be lost; an attempt looks into the log from time to time.
async fn listen_for_stops(deps: &Deps) {
    loop {
        match deps.broker.stop_signals().await {
            Ok(mut signals) => {
                while let Some(turn) = signals.next().await {
                    let running = deps.running.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(stop) = running.get(&turn) {
                        stop.cancel();
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no stop signals can be had"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
