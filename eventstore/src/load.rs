//! Loading one aggregate's events.
//!
//! A whole stream is read by postgres-es, whose table shape ours contains; a stream's tail by
//! our own query, for postgres-es writes the version into the statement's text and so would
//! have every tail prepared anew.

use cqrs_es::Aggregate;
use cqrs_es::persist::PersistedEventRepository;
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlx::PgPool;

use crate::error::StoreError;
use crate::read;

/// A decoded event with its place in the stream.
#[derive(Debug, Clone)]
pub struct LoadedEvent<E> {
    /// Its place in the stream.
    pub sequence: i64,
    /// The event.
    pub event: E,
}

pub(crate) async fn load<A: Aggregate>(
    pool: &PgPool,
    aggregate_id: &str,
    after: i64,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    if after == 0 {
        whole::<A>(pool, aggregate_id).await
    } else {
        tail::<A>(pool, aggregate_id, after).await
    }
}

async fn whole<A: Aggregate>(
    pool: &PgPool,
    aggregate_id: &str,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    let repository = PostgresEventRepository::new(pool.clone());
    let events = repository.get_events::<A>(aggregate_id).await.map_err(classify)?;
    let decoded = events.into_iter().map(|event| {
        let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
        let name = format!("{} {}", event.event_type, event.event_version);
        let event = decode(event.payload).map_err(|error| StoreError::Undecodable {
            event: name,
            stream: format!("{}/{}", A::TYPE, aggregate_id),
            sequence,
            reason: StoreError::reason(&error),
        })?;
        Ok(LoadedEvent { sequence, event })
    });
    decoded.collect()
}

fn decode<E: serde::de::DeserializeOwned>(payload: Value) -> Result<E, serde_json::Error> {
    serde_json::from_value(payload)
}

fn classify(error: cqrs_es::persist::PersistenceError) -> StoreError {
    use cqrs_es::persist::PersistenceError as P;
    match error {
        P::ConnectionError(source) | P::UnknownError(source) => {
            match source.downcast::<sqlx::Error>() {
                Ok(source) => StoreError::from_sqlx("load a stream", *source),
                Err(source) => StoreError::Repository(P::UnknownError(source)),
            }
        }
        other => StoreError::Repository(other),
    }
}

async fn tail<A: Aggregate>(
    pool: &PgPool,
    aggregate_id: &str,
    after: i64,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    let events = read::read_stream(pool, A::TYPE, aggregate_id, after, i64::MAX).await?;
    let decoded = events
        .iter()
        .map(|event| Ok(LoadedEvent { sequence: event.sequence, event: event.decode()? }));
    decoded.collect()
}
