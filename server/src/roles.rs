//! What a process does. All roles stand in one binary; scaling out is more processes.

use clap::ValueEnum;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Serves HTTP.
    Api,
    /// Asks language models.
    Worker,
    /// Keeps the read models.
    Projector,
    /// Carries the log to NATS and queues turns; one process of all leads.
    Relay,
}

/// Every role, which is the default.
pub(crate) const ALL: [Role; 4] = [Role::Api, Role::Worker, Role::Projector, Role::Relay];

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
