//! What the integration tests and the bench stand on: the real binary in as many processes as
//! a test wants, on a real Postgres and a real NATS, before a provider that does as it is told.
//!
//! ```no_run
//! # async fn example() {
//! let cluster = tests::Cluster::builder("target/debug/colloquy")
//!     .node("a", "api,projector,relay")
//!     .node("worker", "worker")
//!     .start()
//!     .await;
//! let ann = cluster.client("a", "acme", "ann");
//! let session = ann.create_session().await;
//! let transcript = ann.say(&session, "hello [[tokens=5]]").await;
//! assert_eq!(transcript.text(), transcript.message_text());
//! # }
//! ```
//!
//! How the provider answers stands in the message itself; see [`provider::Behaviour`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a failure here is a failure of the test, which is told by panicking"
)]

pub mod client;
pub mod cluster;
pub mod faults;
pub mod invariants;
mod process;
pub mod provider;
pub mod proxy;
mod servers;
pub mod sse;
pub mod token;
pub mod transcript;
pub mod wait;

pub use client::{Answer, Client};
pub use cluster::{Cluster, ClusterBuilder};
pub use process::Process;
pub use provider::Provider;
pub use sse::{EventStream, SseEvent};
pub use transcript::Transcript;
pub use wait::{eventually, found};
