//! The command bus: load, decide, append, and again when somebody else was faster.
//!
//! It decides on a cached state without asking the database first: the append checks the
//! version, and a conflict loads only the stream's tail. A command that comes twice under one
//! id has one effect and one answer.

mod cache;
mod error;
mod execute;
mod replay;

pub use error::CommandError;
pub use execute::{Caller, CommandBus, Executed, Reply};
pub use replay::{Replay, ReplayRange, replay};
