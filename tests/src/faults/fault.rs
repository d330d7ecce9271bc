//! How the world is harmed.
//!
//! Each fault is a method of [`World`] that begins it, and some have one that ends it;
//! [`World::heal`] ends them all. A fault proves itself: whoever begins one fails if it has not
//! taken hold, for a scenario whose fault is not there would always pass.
//!
//! [`World`]: super::World
//! [`World::heal`]: super::World::heal

mod connections;
mod links;
mod nats;
mod nodes;
mod postgres;
mod proof;
mod workers;

pub use links::{BREAKS, Break, Side};
pub use workers::Loss;
