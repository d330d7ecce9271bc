//! What a projection is: which rows an event touches, and how it changes them.

use std::collections::HashSet;

use domain::quota::QuotaEvent;
use domain::session::SessionEvent;
use domain::{AccountId, SessionId, TenantId};
use eventstore::Position;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::event::{Body, Event};
use crate::read_model::ReadModel;
use crate::rows::Rows;

/// A read model as a pure fold of the log.
pub(crate) trait Projection: Send + Sync + 'static {
    /// Which one it is.
    const MODEL: ReadModel;

    /// The kinds of streams it is made from; others can't park anything of it.
    const STREAMS: &'static [&'static str];

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
    /// The session that it goes with when that is deleted.
    fn session_id(&self) -> Option<SessionId> {
        None
    }
}

/// Declares a row: a struct whose fields are the table's columns. Its key is a UUID, or has one
/// in its field `0`; a row that belongs to a session says so: `in session_id`.
macro_rules! row {
    (
        $(#[$meta:meta])*
        pub struct $name:ident keyed by $key:ident $(. $inner:tt)? $(in $session:ident)? {
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
                self.$key$(.$inner)?
            }

            $(
                fn session_id(&self) -> Option<domain::SessionId> {
                    Some(self.$session)
                }
            )?
        }
    };
}
pub(crate) use row;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact<'a> {
    /// To a session.
    Session(SessionFact<'a>),
    /// To an account.
    Account(AccountFact<'a>),
}

/// Something that happened to a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionFact<'a> {
    /// Its place in the log.
    pub(crate) position: Position,
    /// Whose it is.
    pub(crate) tenant_id: &'a str,
    /// The session.
    pub(crate) session_id: SessionId,
    /// What happened.
    pub(crate) event: &'a SessionEvent,
}

/// Something that happened to an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountFact<'a> {
    /// Its place in the log.
    pub(crate) position: Position,
    /// The event's id.
    pub(crate) event_id: Uuid,
    /// Whose it is.
    pub(crate) tenant_id: &'a str,
    /// The account.
    pub(crate) account_id: AccountId,
    /// What happened.
    pub(crate) event: &'a QuotaEvent,
}

impl<'a> Fact<'a> {
    /// What `event` says; none if that is nobody's business here, or can't be read.
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        let (position, tenant_id) = (event.position, event.tenant_id.as_str());
        match &event.body {
            Body::Session(session_id, body) => Some(Self::Session(SessionFact {
                position,
                tenant_id,
                session_id: *session_id,
                event: body,
            })),
            Body::Account(account_id, body) => Some(Self::Account(AccountFact {
                position,
                event_id: event.id,
                tenant_id,
                account_id: *account_id,
                event: body,
            })),
            Body::Foreign | Body::Undecodable(_) => None,
        }
    }
}

/// The id of the tenant that a fact belongs to.
pub(crate) fn tenant(tenant_id: &str) -> Result<TenantId, FoldError> {
    tenant_id.parse().map_err(|_| FoldError::Unfit("the tenant's id is not valid"))
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
