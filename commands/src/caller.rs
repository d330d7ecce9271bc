//! Who gives a command, and under which id it is remembered.

use std::sync::Arc;

use domain::{Actor, CommandId, UserId};
use eventstore::CommandRecord;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Who asks, and under which names it is remembered.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor.
    pub actor: Actor,
    /// The tier that the actor's token names, for an account that opens by this command.
    pub named_tier: Option<String>,
    /// The id by which a repeat is known; none for a command that is safe by its own rules.
    pub command_id: Option<CommandId>,
    /// Under whose name it is remembered, where several actors are one: a repeat by another of
    /// them is the same command. The actor's own, if there is none.
    pub remembered_as: Option<UserId>,
    /// What the command belongs to: the request's id, the turn's job.
    pub correlation_id: String,
}

impl Caller {
    /// A part of Colloquy itself, at work on `correlation_id`.
    pub fn system(tenant_id: domain::TenantId, correlation_id: impl Into<String>) -> Self {
        Self {
            actor: Actor::system(tenant_id),
            named_tier: None,
            command_id: None,
            remembered_as: None,
            correlation_id: correlation_id.into(),
        }
    }

    /// The record by which a repeat of the command is known; none for a command without an id.
    /// `scope` and `command` are what the client asked for, not the ids that were made for it.
    pub(crate) fn record(
        &self,
        scope: &[u8],
        command: &impl Serialize,
        outcome: &impl Serialize,
    ) -> Result<Option<CommandRecord>, serde_json::Error> {
        let Some(command_id) = &self.command_id else { return Ok(None) };
        let mut hash = Sha256::new();
        hash.update(scope);
        hash.update(serde_json::to_vec(command)?);
        Ok(Some(CommandRecord {
            user_id: self.remembered_as.as_ref().unwrap_or(&self.actor.user_id).to_string(),
            command_id: command_id.to_string(),
            request_hash: hash.finalize().to_vec(),
            outcome: serde_json::to_string(outcome)?,
            first: 0,
            last: 0,
        }))
    }

    /// An event's metadata.
    pub(crate) fn metadata(&self, command: &str) -> Arc<str> {
        serde_json::json!({
            "command": command,
            "command_id": self.command_id.as_ref().map_or("", |id| id.as_str()),
            "correlation_id": self.correlation_id,
            "actor": self.actor.user_id,
        })
        .to_string()
        .into()
    }
}
