//! The private servers, for real: started, stopped, killed, found again.

#[cfg(test)]
#[path = "local/lifeline.rs"]
mod lifeline;
#[cfg(test)]
#[path = "local/nats.rs"]
mod nats;
#[cfg(test)]
#[path = "local/postgres.rs"]
mod postgres;
#[cfg(test)]
#[path = "local/support.rs"]
mod support;
