//! Folding a batch of events onto a table, within a transaction of the caller's.
//!
//! The runner and the rebuild share this, with another table each; hence a rebuilt table is
//! what a followed one is.

mod careful;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::event::{Body, Event};
use crate::parked::{self, Parked, ParkedStreams, Stream};
use crate::projection::{Fact, Projection, Row, Touched};
use crate::rows::{Changes, Rows};

pub(crate) use careful::is_refusal;

/// A table to fold onto, and the statements for it.
pub(crate) struct Target<P> {
    /// The name under which events are parked.
    pub(crate) name: String,
    load: String,
    remove: String,
    write: String,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> Target<P> {
    /// The projection's own table.
    pub(crate) fn live() -> Self {
        Self::table(P::MODEL.name())
    }

    /// The table that a rebuild fills.
    pub(crate) fn rebuild() -> Self {
        Self::table(&format!("{}_rebuild", P::MODEL.name()))
    }

    fn table(table: &str) -> Self {
        let key = P::Row::KEY;
        let columns = P::Row::COLUMNS.join(", ");
        let updates: Vec<String> = P::Row::COLUMNS
            .iter()
            .filter(|column| **column != key)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        Self {
            name: table.to_owned(),
            load: format!("SELECT row_to_json(t) FROM {table} t WHERE {key} = ANY($1)"),
            remove: format!("DELETE FROM {table} WHERE session_id = ANY($1)"),
            write: format!(
                "INSERT INTO {table} ({columns})
                 SELECT {columns} FROM json_populate_recordset(null::{table}, $1::text::json)
                 ON CONFLICT ({key}) DO UPDATE SET {}",
                updates.join(", ")
            ),
            projection: PhantomData,
        }
    }

    /// Folds `events` in. Those that can't be, and all of a stream in `streams`, are parked
    /// and returned.
    pub(crate) async fn fold(
        &self,
        connection: &mut PgConnection,
        events: &[&Event],
        streams: &ParkedStreams,
    ) -> Result<Vec<Parked>, sqlx::Error> {
        self.fold_or_park(connection, events, streams, None).await
    }

    /// The same. `refused` is the database's reason not to take the events: all of them are
    /// parked then.
    async fn fold_or_park(
        &self,
        connection: &mut PgConnection,
        events: &[&Event],
        streams: &ParkedStreams,
        refused: Option<&str>,
    ) -> Result<Vec<Parked>, sqlx::Error> {
        let rows = self.load(&mut *connection, wanted::<P>(events, streams)).await?;
        let (changes, parked) = fold::<P>(Rows::loaded(rows), events, streams, refused);
        self.write(&mut *connection, changes).await?;
        parked::store(connection, &self.name, &parked).await?;
        Ok(parked)
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        keys: Vec<Uuid>,
    ) -> Result<Vec<P::Row>, sqlx::Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Json<P::Row>> =
            sqlx::query_scalar(&self.load).bind(keys).fetch_all(connection).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        changes: Changes<P::Row>,
    ) -> Result<(), sqlx::Error> {
        if !changes.removed.is_empty() {
            sqlx::query(&self.remove).bind(changes.removed).execute(&mut *connection).await?;
        }
        if !changes.rows.is_empty() {
            let rows: Box<RawValue> = serde_json::value::to_raw_value(&changes.rows)
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
            sqlx::query(&self.write).bind(rows.get()).execute(connection).await?;
        }
        Ok(())
    }
}

pub(crate) fn wanted<P: Projection>(events: &[&Event], streams: &ParkedStreams) -> Vec<Uuid> {
    let mut touched = Touched::default();
    let concerned = events.iter().filter(|event| concerns::<P>(event));
    for event in concerned.filter(|event| !is_in(streams, event)) {
        if let Some(fact) = Fact::of(event) {
            P::touch(&fact, &mut touched);
        }
    }
    touched.into_wanted()
}

/// The pure part: `events` in order onto `rows`. A stream that is parked on the way stops
/// where it is.
pub(crate) fn fold<P: Projection>(
    mut rows: Rows<P::Row>,
    events: &[&Event],
    streams: &ParkedStreams,
    refused: Option<&str>,
) -> (Changes<P::Row>, Vec<Parked>) {
    let mut parked = Vec::new();
    let mut stopped = ParkedStreams::new();
    for event in events.iter().filter(|event| concerns::<P>(event)) {
        let error = match &event.body {
            Body::Foreign => continue,
            _ if is_in(streams, event) || is_in(&stopped, event) => {
                parked.push(Parked::behind(event));
                continue;
            }
            Body::Undecodable(error) => Some(error.clone()),
            _ if refused.is_some() => refused.map(str::to_owned),
            Body::Session(..) | Body::Account(..) => Fact::of(event)
                .and_then(|fact| P::apply(&mut rows, &fact).err())
                .map(|error| error.to_string()),
        };
        if let Some(error) = error {
            stopped.insert(Stream::of(event));
            parked.push(Parked::by(event, &error));
        }
    }
    (rows.into_changes(), parked)
}

/// Whether `event` is of a kind that the read model is made from.
pub(crate) fn concerns<P: Projection>(event: &Event) -> bool {
    P::STREAMS.contains(&event.aggregate_type.as_str())
}

/// Nearly always there are no parked streams, and no name need be made to look one up.
fn is_in(streams: &ParkedStreams, event: &Event) -> bool {
    !streams.is_empty() && streams.contains(&Stream::of(event))
}
