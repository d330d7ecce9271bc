//! The relay: reads the log in order, puts it on NATS, and deals its turns out to workers.
//!
//! One process leads, the others wait for it. The leader keeps nothing that it can't read back:
//! where to go on stands in the `EVENTS` stream itself, and, for a stream that was wiped, in a
//! checkpoint; which turns wait stands in the read models. Hints wake it; polling makes sure.

mod holds;
mod leadership;

use std::time::Duration;

use broker::{Broker, BrokerError, EventPublisher};
use commands::CommandBus;
use domain::Causes;
use eventstore::{EventStore, Position, RecordedEvent, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::leadership::Leadership;
use crate::dispatch::Dispatcher;

/// Events read and sent at once.
const PAGE: i64 = 500;
/// Without a hint, the log is looked at this often.
const POLL: Duration = Duration::from_millis(250);
/// How often the leader says that it is alive, and looks after the turns' workers.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Between tries to lead.
const RETRY: Duration = Duration::from_millis(500);

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// NATS.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// An event could not be encoded or decoded.
    #[error("an event could not be read")]
    Encoding(#[from] serde_json::Error),
}

/// Relays until `stop`; survives the loss of Postgres and of NATS. Holds of quota whose time is
/// over are ended with `bus`.
pub async fn run(store: EventStore, broker: Broker, bus: CommandBus, stop: CancellationToken) {
    let mut troubled = false;
    while !stop.is_cancelled() {
        match lead(&store, &broker, &bus, &stop, &mut troubled).await {
            Ok(()) => troubled = false,
            Err(error) if !troubled => {
                tracing::warn!(error = %Causes(&error), "the relay is interrupted");
                troubled = true;
            }
            Err(error) => tracing::debug!(%error, "the relay is still interrupted"),
        }
        stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
    }
}

/// Leads as soon as nobody else does, until `stop` or the first trouble.
async fn lead(
    store: &EventStore,
    broker: &Broker,
    bus: &CommandBus,
    stop: &CancellationToken,
    troubled: &mut bool,
) -> Result<(), RelayError> {
    let Some(mut leadership) = Leadership::take(store, stop).await? else { return Ok(()) };
    let result = tokio::select! {
        result = relay(store, broker, stop, &mut leadership, troubled) => result,
        () = holds::look_after(store, bus) => Ok(()),
    };
    leadership.give_back().await;
    result
}

async fn relay(
    store: &EventStore,
    broker: &Broker,
    stop: &CancellationToken,
    leadership: &mut Leadership,
    troubled: &mut bool,
) -> Result<(), RelayError> {
    broker.ensure_streams().await?;
    let mut appended = store.appended();
    let mut hints = broker.head_hints().await?;
    let (mut publisher, mut position) = resume(store, broker, leadership).await?;
    let loading = Dispatcher::from_read_models(store, position);
    let mut dispatcher = alive(leadership, position, loading).await??;
    tracing::info!(position, "the relay leads");
    *troubled = false;
    let mut heartbeat = Instant::now() + HEARTBEAT;
    loop {
        let page = store.read_after(position, PAGE).await?;
        if let Some(last) = page.last() {
            position = last.position;
            for event in &page {
                dispatcher.observe(event);
            }
        }
        let send = async {
            let (sent, ()) = tokio::join!(publish(&mut publisher, &page), dispatcher.deal(broker));
            sent
        };
        alive(leadership, position, send).await??;
        if Instant::now() >= heartbeat {
            leadership.sign_of_life(position).await?;
            alive(leadership, position, dispatcher.look_after(store, broker)).await??;
            heartbeat = Instant::now() + HEARTBEAT;
        }
        if stop.is_cancelled() {
            return Ok(leadership.sign_of_life(position).await?);
        }
        if page.is_empty() && !dispatcher.has_work() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = appended.changed() => {}
                _ = hints.next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

/// Does `work`, however long it takes, and says in between that the leader is alive.
async fn alive<T>(
    leadership: &mut Leadership,
    position: Position,
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(HEARTBEAT, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) => leadership.sign_of_life(position).await?,
        }
    }
}

/// Goes on where the stream ends; where it was wiped or belongs to another log, at the
/// checkpoint: projectors read Postgres for what is missing.
async fn resume(
    store: &EventStore,
    broker: &Broker,
    leadership: &mut Leadership,
) -> Result<(EventPublisher, Position), RelayError> {
    let epoch = store.epoch().await?.to_string();
    let head = store.head().await?;
    let mut last = broker.last_published().await?;
    if last.event.as_ref().is_some_and(|(position, of)| *of != epoch || *position > head) {
        tracing::warn!("the event stream belongs to another log; it is emptied");
        broker.purge_events().await?;
        last = broker.last_published().await?;
    }
    let position = match &last.event {
        Some((position, _)) => *position,
        None => leadership.checkpoint().await?.min(head),
    };
    Ok((EventPublisher::new(broker.clone(), epoch, &last, position), position))
}

async fn publish(publisher: &mut EventPublisher, page: &[RecordedEvent]) -> Result<(), RelayError> {
    for event in page {
        let aggregate = (event.aggregate_type.as_str(), event.aggregate_id.as_str());
        let body = serde_json::to_vec(event)?;
        publisher.publish(event.position, &event.tenant_id, aggregate, body).await?;
    }
    Ok(publisher.confirm().await?)
}
