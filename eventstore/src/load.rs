//! Loading one aggregate's events.
//!
//! A whole stream is read by postgres-es, whose table shape ours contains; a stream's tail by
//! our own query, for postgres-es writes the version into the statement's text and so would
//! have every tail prepared anew.

use cqrs_es::Aggregate;
use cqrs_es::persist::PersistedEventRepository;
use postgres_es::PostgresEventRepository;
use serde_json::Value;

use crate::database::Database;
use crate::error::StoreError;
use crate::read;

/// Events read at once.
const PAGE: i64 = 1000;

/// A decoded event with its place in the stream.
#[derive(Debug, Clone)]
pub struct LoadedEvent<E> {
    /// Its place in the stream.
    pub sequence: i64,
    /// The event.
    pub event: E,
}

pub(crate) async fn load<A: Aggregate>(
    database: &Database,
    aggregate_id: &str,
    after: i64,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    if after == 0 {
        whole::<A>(database, aggregate_id).await
    } else {
        tail::<A>(database, aggregate_id, after).await
    }
}

async fn whole<A: Aggregate>(
    database: &Database,
    aggregate_id: &str,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    let repository = PostgresEventRepository::new((**database).clone());
    let events = repository.get_events::<A>(aggregate_id);
    let events = database.in_time(async { Ok(events.await) }).await;
    let events = events.map_err(|error| StoreError::from_sqlx("load a stream", error))?;
    let events = events.map_err(classify)?;
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
    database: &Database,
    aggregate_id: &str,
    after: i64,
) -> Result<Vec<LoadedEvent<A::Event>>, StoreError> {
    let mut loaded: Vec<LoadedEvent<A::Event>> = Vec::new();
    loop {
        let after = loaded.last().map_or(after, |last| last.sequence);
        let page = read::read_stream(database, A::TYPE, aggregate_id, after, PAGE).await?;
        for event in &page {
            loaded.push(LoadedEvent { sequence: event.sequence, event: event.decode()? });
        }
        if read::is_last_page(&page, PAGE) {
            return Ok(loaded);
        }
    }
}
