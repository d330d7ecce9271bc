//! The relay: reads the log in order and puts it on NATS, with a job for every turn.
//!
//! One process leads, by an advisory lock; the others wait for it. The leader keeps nothing
//! that it can't read back: where to go on stands in the `EVENTS` stream itself, and, for a
//! stream that was wiped, in a checkpoint. Hints wake it; polling makes sure.

use std::time::Duration;

use broker::{Broker, BrokerError, EventPublisher, Job};
use commands::CommandBus;
use domain::Causes;
use domain::session::SessionEvent;
use eventstore::{EventStore, Position, RecordedEvent, StoreError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sweeper::{Sweeper, holds};

const LEADER_LOCK: i64 = 7_245_873_190_468;
const CHECKPOINT: &str = "relay";
/// Events read and sent at once.
const PAGE: i64 = 500;
/// Without a hint, the log is looked at this often.
const POLL: Duration = Duration::from_millis(250);
/// How often the leader proves that it still leads, and keeps its checkpoint.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A leader without a sign of life for so long is taken for frozen.
const FROZEN: Duration = Duration::from_secs(5);
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

/// Relays until `stop`, and sweeps with `bus`; survives the loss of Postgres and of NATS.
pub async fn run(store: EventStore, broker: Broker, bus: CommandBus, stop: CancellationToken) {
    let mut troubled = false;
    let mut sweeper = Sweeper::new(bus.clone());
    while !stop.is_cancelled() {
        match lead(&store, &broker, &bus, &mut sweeper, &stop, &mut troubled).await {
            Ok(()) => troubled = false,
            Err(error) if !troubled => {
                tracing::warn!(error = %Causes(&error), "the relay is interrupted");
                troubled = true;
            }
            Err(error) => tracing::debug!(%error, "the relay is still interrupted"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Leads if nobody else does, until `stop` or the first trouble.
async fn lead(
    store: &EventStore,
    broker: &Broker,
    bus: &CommandBus,
    sweeper: &mut Sweeper,
    stop: &CancellationToken,
    troubled: &mut bool,
) -> Result<(), RelayError> {
    let Some(mut lock) = take_lead(store).await? else { return Ok(()) };
    let result = tokio::select! {
        result = relay(store, broker, sweeper, stop, &mut lock, troubled) => result,
        () = holds::look_after(store, bus) => Ok(()),
    };
    // Closing the connection gives the lock back at once.
    drop(lock.close().await);
    result
}

/// The lock lives as long as the connection, which is this function's own.
async fn take_lead(store: &EventStore) -> Result<Option<PgConnection>, StoreError> {
    let trouble = |error| StoreError::from_sqlx("lead the relay", error);
    let options = store.pool().connect_options();
    let mut connection = PgConnection::connect_with(&options).await.map_err(trouble)?;
    let leads: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LEADER_LOCK)
        .fetch_one(&mut connection)
        .await
        .map_err(trouble)?;
    if leads {
        sign_of_life(&mut connection).await.map_err(trouble)?;
        return Ok(Some(connection));
    }
    end_frozen_leader(&mut connection).await.map_err(trouble)?;
    drop(connection.close().await);
    Ok(None)
}

async fn sign_of_life(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO checkpoints (name) VALUES ($1)
         ON CONFLICT (name) DO UPDATE SET moved_at = clock_timestamp()",
    )
    .bind(CHECKPOINT)
    .execute(connection)
    .await
    .map(drop)
}

/// A leader that gives no sign of life (its process is frozen, its host is gone) would keep
/// the lock as long as its connection seems to stand; so that is ended here. Should it come
/// back, it finds the connection closed, and the stream's sequence moved on.
async fn end_frozen_leader(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (l.classid::bigint << 32) | l.objid::bigint = $1
           AND EXISTS (SELECT FROM checkpoints c WHERE c.name = $2
                       AND c.moved_at < clock_timestamp() - make_interval(secs => $3))",
    )
    .bind(LEADER_LOCK)
    .bind(CHECKPOINT)
    .bind(FROZEN.as_secs_f64())
    .fetch_all(connection)
    .await?;
    if !ended.is_empty() {
        tracing::warn!("the relay's leader gave no sign of life; its connection was ended");
    }
    Ok(())
}

async fn relay(
    store: &EventStore,
    broker: &Broker,
    sweeper: &mut Sweeper,
    stop: &CancellationToken,
    lock: &mut PgConnection,
    troubled: &mut bool,
) -> Result<(), RelayError> {
    broker.ensure_streams().await?;
    let mut appended = store.appended();
    let mut hints = broker.head_hints().await?;
    let (mut publisher, mut position) = resume(store, broker, lock).await?;
    tracing::info!(position, "the relay leads");
    *troubled = false;
    let mut heartbeat = Instant::now() + HEARTBEAT;
    loop {
        let page = store.read_after(position, PAGE).await?;
        if let Some(last) = page.last() {
            position = last.position;
            publish(broker, &mut publisher, &page).await?;
        }
        if Instant::now() >= heartbeat {
            keep_checkpoint(lock, position).await?;
            heartbeat = Instant::now() + HEARTBEAT;
            sweeper.sweep(store, broker).await?;
        }
        if stop.is_cancelled() {
            keep_checkpoint(lock, position).await?;
            return Ok(());
        }
        if page.is_empty() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = appended.changed() => {}
                _ = hints.next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

/// Goes on where the stream ends; where it was wiped or belongs to another log, at the
/// checkpoint: projectors read Postgres for what is missing, the sweeper finds lost jobs.
async fn resume(
    store: &EventStore,
    broker: &Broker,
    lock: &mut PgConnection,
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
        None => checkpoint(lock).await?.min(head),
    };
    Ok((EventPublisher::new(broker.clone(), epoch, &last, position), position))
}

async fn publish(
    broker: &Broker,
    publisher: &mut EventPublisher,
    page: &[RecordedEvent],
) -> Result<(), RelayError> {
    let mut jobs = FuturesUnordered::new();
    for event in page {
        if let Some((pool, job)) = job_of(event) {
            jobs.push(async move { broker.publish_job(&pool, &job, "first").await });
        }
    }
    // A job that can't be queued (the queue may be full) must not hold the log up: the sweeper
    // comes back to its turn.
    let queue_jobs = async {
        while let Some(queued) = jobs.next().await {
            if let Err(error) = queued {
                tracing::warn!(error = %Causes(&error), "a turn waits for the sweeper");
            }
        }
    };
    let send_events = async {
        for event in page {
            let aggregate = (event.aggregate_type.as_str(), event.aggregate_id.as_str());
            let body = serde_json::to_vec(event)?;
            publisher.publish(event.position, &event.tenant_id, aggregate, body).await?;
        }
        publisher.confirm().await?;
        Ok::<(), RelayError>(())
    };
    let ((), sent) = tokio::join!(queue_jobs, send_events);
    sent
}

/// The job that follows from `event`, with its pool. An event that can't be read makes none:
/// the projections park it, and its session is stuck until it is mended.
fn job_of(event: &RecordedEvent) -> Option<(String, Job)> {
    if event.event_type != "TurnRequested" {
        return None;
    }
    let ids = (event.tenant_id.parse(), event.aggregate_id.parse(), event.decode());
    let (Ok(tenant_id), Ok(session_id), Ok(SessionEvent::TurnRequested { turn_id, pool, .. })) =
        ids
    else {
        tracing::error!(position = event.position, "a turn's request can't be read");
        return None;
    };
    Some((pool, Job { tenant_id, session_id, turn_id }))
}

async fn checkpoint(lock: &mut PgConnection) -> Result<Position, StoreError> {
    let found: Option<Position> =
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE name = $1")
            .bind(CHECKPOINT)
            .fetch_optional(lock)
            .await
            .map_err(|error| StoreError::from_sqlx("read the relay's checkpoint", error))?;
    Ok(found.unwrap_or(0))
}

/// Also proves that the connection, and with it the lock, still stands.
async fn keep_checkpoint(lock: &mut PgConnection, position: Position) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO checkpoints (name, position) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE
         SET position = excluded.position, moved_at = clock_timestamp()",
    )
    .bind(CHECKPOINT)
    .bind(position)
    .execute(lock)
    .await
    .map_err(|error| StoreError::from_sqlx("keep the relay's checkpoint", error))?;
    Ok(())
}
