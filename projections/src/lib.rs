//! Read models: tables that answer queries, each a pure fold of the log.
//!
//! A projection says which rows an event touches and how it changes them (`projection.rs`); the
//! rest is shared. A runner ([`run`]) takes events from NATS while they come without a hole and
//! from Postgres when they don't, folds a batch in memory, and writes the changed rows and the
//! checkpoint in one transaction. The checkpoint moves by compare-and-set, so any number of
//! processes may run the same projection. Nothing is read from a clock: a rebuild
//! ([`rebuild()`]) gives the same bytes.
//!
//! Each read model has a checkpoint of its own. A query that joins several must wait for its
//! position in all of them ([`Positions::wait_for`]).
//!
//! # How to add a read model
//!
//! 1. Its table and its row in `checkpoints`: a new migration. The table has a
//!    `session_id` if its rows go with their session.
//! 2. A file here with its row, its projection and its queries.
//! 3. A variant of [`ReadModel`]; the compiler shows the rest but one: [`run`] starts it.

mod accounts;
mod batch;
mod checkpoint;
#[cfg(test)]
mod database_tests;
mod deadline;
mod event;
mod feed;
mod messages;
mod parked;
mod positions;
mod projection;
mod read_model;
mod rebuild;
mod rows;
mod runner;
mod scope;
mod sessions;
mod status;
#[cfg(test)]
mod testing;
mod transactions;
mod trouble;
mod turns;
mod usage_daily;

pub use accounts::{
    AccountCursor, AccountRow, OpenHold, expired_holds, get_account, list_accounts, orphaned_holds,
};
pub use messages::{HistoryMessage, MessageCursor, MessageOrder, MessageRow, list_messages};
pub use positions::{Health, Positions, ProjectionHealth, WaitError};
pub use read_model::{ReadModel, UnknownReadModel};
pub use rebuild::{RebuildError, Rebuilt, rebuild};
pub use runner::run;
pub use scope::Page;
pub use sessions::{SessionCursor, SessionFilter, SessionRow, get_session, list_sessions};
pub use status::{ParkedStream, ProjectionStatus, list, parked_streams};
pub use transactions::{
    RepriceScope, Repriceable, TransactionCursor, TransactionFilter, TransactionKind,
    TransactionRow, list_transactions, repriceable,
};
pub use turns::{
    AbandonedAttempt, TurnDetail, TurnRow, UnfinishedTurn, ended_turns, get_turn, next_turn,
    unfinished_turns, waiting_turns,
};
pub use usage_daily::{
    PeakDay, Statistics, UsageGroup, UsageLine, UsageRow, UsageScope, UsageTotals, statistics,
    usage,
};
