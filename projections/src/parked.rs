//! Parked streams: an event that can't be taken in stops its own stream and no other.

use std::collections::HashSet;

use eventstore::Position;
use sqlx::PgConnection;

use crate::event::Event;

/// A stream's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
}

impl Stream {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            aggregate_type: event.aggregate_type.clone(),
            aggregate_id: event.aggregate_id.clone(),
        }
    }
}

/// The streams that a projection has parked.
pub(crate) type ParkedStreams = HashSet<Stream>;

/// An event to be parked.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) stream: Stream,
    pub(crate) position: Position,
    pub(crate) event_type: String,
    pub(crate) error: String,
    /// Whether it is the one that parks its stream.
    pub(crate) first: bool,
}

impl Parked {
    /// An event that can't be taken in.
    pub(crate) fn by(event: &Event, error: &str) -> Self {
        Self {
            stream: Stream::of(event),
            position: event.position,
            event_type: event.name.clone(),
            error: crate::projection::storable(error),
            first: true,
        }
    }

    /// An event behind such a one.
    pub(crate) fn behind(event: &Event) -> Self {
        Self { first: false, ..Self::by(event, "an earlier event of the stream is parked") }
    }

    /// Says so in the log, once a stream.
    pub(crate) fn report(&self, projection: &str) {
        if self.first {
            tracing::error!(
                projection,
                aggregate_type = self.stream.aggregate_type,
                aggregate_id = self.stream.aggregate_id,
                position = self.position,
                event_type = self.event_type,
                error = self.error,
                "an event can't be taken in: its stream is parked until a rebuild"
            );
        }
    }
}

/// The streams parked by `projection`.
pub(crate) async fn load(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<ParkedStreams, sqlx::Error> {
    let streams: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT aggregate_type, aggregate_id FROM parked_events WHERE projection = $1",
    )
    .bind(projection)
    .fetch_all(connection)
    .await?;
    let named = streams
        .into_iter()
        .map(|(aggregate_type, aggregate_id)| Stream { aggregate_type, aggregate_id });
    Ok(named.collect())
}

/// Writes parked events down.
pub(crate) async fn store(
    connection: &mut PgConnection,
    projection: &str,
    parked: &[Parked],
) -> Result<(), sqlx::Error> {
    if parked.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO parked_events
             (projection, position, aggregate_type, aggregate_id, event_type, error)
         SELECT $1, p.* FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[]) p",
    )
    .bind(projection)
    .bind(column(parked, |event| event.position))
    .bind(column(parked, |event| event.stream.aggregate_type.clone()))
    .bind(column(parked, |event| event.stream.aggregate_id.clone()))
    .bind(column(parked, |event| event.event_type.clone()))
    .bind(column(parked, |event| event.error.clone()))
    .execute(connection)
    .await?;
    Ok(())
}

fn column<T>(parked: &[Parked], of: impl Fn(&Parked) -> T) -> Vec<T> {
    parked.iter().map(of).collect()
}
