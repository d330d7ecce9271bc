//! The fault suite: an installation of many processes is harmed in every way that we know of
//! while users work with it, and then has to keep all its promises.
//!
//! Read on in this order: [`world`], what is harmed; [`fault`], how; [`load`], who works with it
//! meanwhile; [`record`], what they were told; [`check`], what must hold afterwards; and
//! [`scenario`], the table of what is tried. [`mod@run`] puts them together.
//!
//! The suite knows the installation from outside: it uses the public API, reads the log's tables,
//! and asks NATS, Postgres and the system what they hold. Whatever is chosen at random is chosen
//! by one seed.

pub mod check;
pub mod fault;
pub mod load;
pub mod record;
pub mod run;
pub mod scenario;
pub mod world;

pub use run::{Outcome, Scale, Stage, run};
pub use scenario::{SCENARIOS, Scenario};
pub use world::World;
