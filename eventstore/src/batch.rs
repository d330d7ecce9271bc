//! One call of the append function: a batch of commands as arrays, a verdict on each.

use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::append::{AppendCommand, Verdict};
use crate::database::Database;
use crate::error::StoreError;
use crate::event::Position;

/// The append function's arguments, one array a column.
#[derive(Default)]
struct Columns<'a> {
    tenants: Vec<&'a str>,
    record_commands: Vec<i32>,
    users: Vec<&'a str>,
    command_ids: Vec<&'a str>,
    hashes: Vec<&'a [u8]>,
    outcomes: Vec<&'a str>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    stream_commands: Vec<i32>,
    stream_types: Vec<&'a str>,
    stream_ids: Vec<&'a str>,
    expected: Vec<i64>,
    event_commands: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_types: Vec<&'a str>,
    event_streams: Vec<&'a str>,
    sequences: Vec<i64>,
    names: Vec<&'a str>,
    versions: Vec<&'a str>,
    payloads: Vec<&'a str>,
    metadata: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, number: i32, command: &'a AppendCommand) {
        self.tenants.push(&command.tenant_id);
        for record in &command.records {
            self.record_commands.push(number);
            self.users.push(&record.user_id);
            self.command_ids.push(&record.command_id);
            self.hashes.push(&record.request_hash);
            self.outcomes.push(&record.outcome);
            self.firsts.push(i64::try_from(record.first).unwrap_or(i64::MAX));
            self.lasts.push(i64::try_from(record.last).unwrap_or(i64::MAX));
        }
        for stream in &command.streams {
            self.stream_commands.push(number);
            self.stream_types.push(stream.aggregate_type);
            self.stream_ids.push(&stream.aggregate_id);
            self.expected.push(stream.expected_version);
            for (sequence, event) in (stream.expected_version + 1..).zip(&stream.events) {
                self.event_commands.push(number);
                self.event_ids.push(event.event_id);
                self.event_types.push(stream.aggregate_type);
                self.event_streams.push(&stream.aggregate_id);
                self.sequences.push(sequence);
                self.names.push(event.event_type);
                self.versions.push(&event.event_version);
                self.payloads.push(&event.payload);
                self.metadata.push(&event.metadata);
            }
        }
    }
}

#[derive(FromRow)]
struct Row {
    verdict: String,
    first_position: Option<Position>,
    last_position: Option<Position>,
    outcome: Option<Json<Box<RawValue>>>,
}

/// Appends `commands` in one autocommitted statement; one verdict each, in order.
pub(crate) async fn append_batch(
    database: &Database,
    commands: &[&AppendCommand],
) -> Result<Vec<Verdict>, StoreError> {
    let mut columns = Columns::default();
    for (number, command) in (1..).zip(commands) {
        columns.push(number, command);
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT verdict, first_position, last_position, outcome FROM append_events(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
            $19, $20, $21)",
    )
    .bind(columns.tenants)
    .bind(columns.record_commands)
    .bind(columns.users)
    .bind(columns.command_ids)
    .bind(columns.hashes)
    .bind(columns.outcomes)
    .bind(columns.firsts)
    .bind(columns.lasts)
    .bind(columns.stream_commands)
    .bind(columns.stream_types)
    .bind(columns.stream_ids)
    .bind(columns.expected)
    .bind(columns.event_commands)
    .bind(columns.event_ids)
    .bind(columns.event_types)
    .bind(columns.event_streams)
    .bind(columns.sequences)
    .bind(columns.names)
    .bind(columns.versions)
    .bind(columns.payloads)
    .bind(columns.metadata)
    .fetch_all(database)
    .await
    .map_err(|error| StoreError::from_sqlx("append", error))?;
    rows.into_iter().map(verdict).collect()
}

fn verdict(row: Row) -> Result<Verdict, StoreError> {
    let outcome = row.outcome.map(|outcome| outcome.0);
    match (row.verdict.as_str(), row.first_position, row.last_position) {
        ("appended", Some(first), Some(last)) => Ok(Verdict::Appended { first, last }),
        ("duplicate", Some(first), Some(last)) => Ok(Verdict::Duplicate { first, last, outcome }),
        ("reused", ..) => Ok(Verdict::Reused),
        ("conflict", ..) => Ok(Verdict::Conflict),
        (other, ..) => Err(StoreError::Schema(format!("append_events answered {other:?}"))),
    }
}
