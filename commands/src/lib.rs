//! The command bus: load, decide, append, and again when somebody else was faster.
//!
//! It decides on a cached state without asking the database first: the append checks the
//! version, and a conflict loads only the stream's tail. A command that comes twice under one
//! id has one effect and one answer.

mod account;
mod back_off;
mod bus;
mod cache;
mod caller;
mod catalog;
mod error;
mod execute;
mod lane;
mod new_event;
mod quota;
mod replay;
mod reply;

pub use bus::CommandBus;
pub use caller::Caller;
pub use catalog::{CatalogExecuted, CatalogHandle, CurrentCatalog};
pub use error::CommandError;
pub use quota::AccountExecuted;
pub use replay::{Replay, ReplayRange, replay_account, replay_session};
pub use reply::{Billed, Executed, Reply};
