//! The domain: aggregates, events and decisions as plain functions over plain data.
//!
//! Nothing here does I/O or reads a clock; time and ids come in with each command, so a
//! decision is a pure function of the folded state and replay is exact.
//!
//! # How to add an event
//!
//! 1. Add a variant to [`session::SessionEvent`] and fold it in `session/state.rs`.
//! 2. Emit it from a rule in `session/decide.rs` (or beside it), with a
//!    given/when/then test in `domain/tests/`.
//! 3. Run the golden test with `UPDATE_GOLDEN=1`; commit the new file. Files that already
//!    exist must never change: they are what the log holds.

mod aggregate;
pub mod billing;
pub mod catalog;
mod causes;
pub mod completion;
pub mod content;
mod credits;
mod cuts;
pub mod ids;
pub mod models;
mod patch;
pub mod prices;
pub mod quota;
pub mod session;
pub mod settings;
pub mod time;
pub mod tokens;

pub use causes::Causes;
pub use completion::{Completion, FinishReason, Timing, Usage};
pub use content::{ContentPart, Message, Role};
pub use credits::{Credits, InvalidCredits};
pub use cuts::{Cuts, ToolCallDelta};
pub use ids::{
    AccountId, CommandId, InvalidId, MessageId, ReservationId, SessionId, TenantId, TurnId, UserId,
    WorkerId,
};
pub use models::{Fallback, ModelSpec, Models, Status};
pub use prices::{Price, PriceBook, PriceEntry};
pub use settings::{Settings, SettingsPatch};
pub use time::{Clock, Ids, SystemClock, SystemIds};

/// Who issued a command; recorded with every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The tenant the actor belongs to.
    pub tenant_id: TenantId,
    /// The user, service or worker that acts.
    pub user_id: UserId,
    /// What the actor may do.
    pub role: ActorRole,
}

/// The rights of an [`Actor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorRole {
    /// Sees and changes what is their own.
    User,
    /// Sees and changes all of their tenant.
    Admin,
    /// A part of Colloquy itself (worker, sweeper).
    System,
}

impl Actor {
    /// The actor of Colloquy's own processes within `tenant_id`.
    pub fn system(tenant_id: TenantId) -> Self {
        Self { tenant_id, user_id: UserId::system(), role: ActorRole::System }
    }

    /// Whether this actor may see what belongs to `user_id` of `tenant_id`.
    pub fn may_see(&self, tenant_id: &TenantId, user_id: &UserId) -> bool {
        self.tenant_id == *tenant_id && (self.role != ActorRole::User || self.user_id == *user_id)
    }
}
