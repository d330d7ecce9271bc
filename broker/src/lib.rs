//! NATS: what is carried where, and how.
//!
//! Nothing here is the truth: every message can be lost, doubled or late, and the whole store
//! of the server can vanish. Each receiver proves what it has by numbers of our own (log
//! positions, delta sequences) and turns to Postgres for the rest.
//!
//! | what | subject | stream |
//! |---|---|---|
//! | events | `ev.{tenant}.{aggregate}.{id}` | `EVENTS`: file, 24 h |
//! | jobs | `job.{pool}` | `JOBS`: file, work queue |
//! | deltas | `delta.{tenant}.{turn}` | `DELTAS`: memory, 15 min |
//! | hints, stop | `log.head`, `stop.{turn}` | none |

mod connection;
mod error;
mod events;
mod frame;
mod hub;
mod jobs;
mod signals;
mod splice;
mod stored;
mod streams;
mod subjects;

pub use connection::Broker;
pub use domain::ToolCallDelta;
pub use error::BrokerError;
pub use events::{EventFeed, EventMessage, EventPublisher, LastPublished};
pub use frame::{Delta, Frame, Settlement, Terminal};
pub use hub::{DeltaHub, TurnWatch, WatchError};
pub use jobs::{Job, JobQueue, ReceivedJob};
pub use signals::{HeadHints, StopSignals};
pub use splice::{Cursor, Spliced, splice};
