//! The whole log, as its table has it.

use serde_json::Value;
use sqlx::PgPool;

/// One event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Event {
    /// Its place in the log.
    pub position: i64,
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The kind of its stream.
    pub kind: String,
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// Its own fields.
    pub fields: Option<Value>,
    /// The command that it came from.
    pub command: Option<String>,
}

/// All events, in order.
pub struct Log {
    /// The event at position `n` is at `n - 1`.
    pub events: Vec<Event>,
}

impl Log {
    /// Reads it.
    pub async fn read(pool: &PgPool) -> Self {
        let events = sqlx::query_as(
            "SELECT position, event_id::text AS id, tenant_id AS tenant, aggregate_type AS kind,
                    aggregate_id AS stream, event_type AS name, payload->event_type AS fields,
                    metadata->>'command_id' AS command
             FROM events ORDER BY position",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        Self { events }
    }

    /// The event at `position`.
    pub fn at(&self, position: i64) -> Option<&Event> {
        self.events.get(usize::try_from(position).ok()?.checked_sub(1)?)
    }

    /// The events called `name`.
    pub fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.name == name)
    }
}

impl Event {
    /// A text among its fields; empty if there is none.
    pub fn text(&self, name: &str) -> &str {
        self.fields.as_ref().and_then(|fields| fields[name].as_str()).unwrap_or_default()
    }

    /// A field.
    pub fn field(&self, name: &str) -> &Value {
        self.fields.as_ref().map_or(&Value::Null, |fields| &fields[name])
    }
}
