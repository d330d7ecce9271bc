//! What a projection is: which rows an event touches, and how it changes them.

use std::collections::HashSet;

use domain::SessionId;
use domain::session::SessionEvent;
use eventstore::Position;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::event::Event;
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// A read model as a pure fold of the log.
pub(crate) trait Projection: Send + Sync + 'static {
    /// Which one it is.
    const MODEL: ReadModel;

    /// One row of its table.
    type Row: Row;

    /// Names the rows that `fact` makes or changes. (Removals need not be named.)
    fn touch(fact: &Fact<'_>, touched: &mut Touched);

    /// Folds `fact` in. Depends on the rows and the fact alone; when it fails it has changed
    /// nothing.
    fn apply(rows: &mut Rows<Self::Row>, fact: &Fact<'_>) -> Result<(), FoldError>;
}

/// A table's row. Its fields are the columns.
pub(crate) trait Row: Serialize + DeserializeOwned + Send + Sync + Unpin {
    /// The column with the key.
    const KEY: &'static str;
    /// All columns.
    const COLUMNS: &'static [&'static str];

    /// Its key.
    fn key(&self) -> Uuid;
    /// The session it belongs to.
    fn session_id(&self) -> SessionId;
}

/// Declares a row: a struct whose fields are the table's columns.
macro_rules! row {
    (
        $(#[$meta:meta])*
        pub struct $name:ident keyed by $key:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::projection::Row for $name {
            const KEY: &'static str = stringify!($key);
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn key(&self) -> uuid::Uuid {
                self.$key.0
            }

            fn session_id(&self) -> domain::SessionId {
                self.session_id
            }
        }
    };
}
pub(crate) use row;

/// Something that happened to a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact<'a> {
    /// Its place in the log.
    pub(crate) position: Position,
    /// Whose it is.
    pub(crate) tenant_id: &'a str,
    /// The session.
    pub(crate) session_id: SessionId,
    /// What happened.
    pub(crate) event: &'a SessionEvent,
}

impl<'a> Fact<'a> {
    pub(crate) fn of(event: &'a Event, session_id: SessionId, body: &'a SessionEvent) -> Self {
        Self { position: event.position, tenant_id: &event.tenant_id, session_id, event: body }
    }
}

/// The rows a batch touches.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    made: HashSet<Uuid>,
    wanted: HashSet<Uuid>,
}

impl Touched {
    /// The event makes this row: it need not be loaded for what follows.
    pub(crate) fn makes(&mut self, key: Uuid) {
        self.made.insert(key);
    }

    /// The event changes this row.
    pub(crate) fn changes(&mut self, key: Uuid) {
        if !self.made.contains(&key) {
            self.wanted.insert(key);
        }
    }

    /// The rows to load.
    pub(crate) fn into_wanted(self) -> Vec<Uuid> {
        self.wanted.into_iter().collect()
    }
}

/// Why an event can't be folded in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FoldError {
    /// It is about something that no earlier event has made.
    #[error("there is no row {0} to change")]
    Missing(Uuid),
    /// A value that has no place in the table.
    #[error("{0}")]
    Unfit(&'static str),
}

/// Text as Postgres can hold it: it has no NUL.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// JSON text of `value`, as it will stand in a `json` column.
pub(crate) fn json<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Box<serde_json::value::RawValue>, FoldError> {
    serde_json::value::to_raw_value(value)
        .map_err(|_| FoldError::Unfit("a value can't be written as JSON"))
}
