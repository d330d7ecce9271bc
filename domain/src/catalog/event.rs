//! What can have happened to the catalog. These shapes are in the log for ever: fields are only
//! added (with a default), never renamed or removed.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::provider::ProviderSpec;
use crate::ids::UserId;
use crate::models::ModelSpec;
use crate::prices::PriceEntry;

/// An event of the catalog. `seeded` is what the configuration said, where it comes from there:
/// what became of it may differ, by what admins had changed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields say what they are; each variant is documented")]
pub enum CatalogEvent {
    /// There is a new provider.
    ProviderAdded {
        spec: ProviderSpec,
        seeded: Option<ProviderSpec>,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// A provider is now this.
    ProviderChanged {
        spec: ProviderSpec,
        seeded: Option<ProviderSpec>,
        by: UserId,
        at: DateTime<Utc>,
    },
    /// There is a new model. If it is the default one, no other is any longer.
    ModelAdded { spec: ModelSpec, seeded: Option<ModelSpec>, by: UserId, at: DateTime<Utc> },
    /// A model is now this. If it is the default one, no other is any longer.
    ModelChanged { spec: ModelSpec, seeded: Option<ModelSpec>, by: UserId, at: DateTime<Utc> },
    /// There is a new price.
    PriceSet {
        entry: PriceEntry,
        /// Whether it comes from the configuration.
        seeded: bool,
        by: UserId,
        at: DateTime<Utc>,
    },
}

impl CatalogEvent {
    /// The event's name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProviderAdded { .. } => "ProviderAdded",
            Self::ProviderChanged { .. } => "ProviderChanged",
            Self::ModelAdded { .. } => "ModelAdded",
            Self::ModelChanged { .. } => "ModelChanged",
            Self::PriceSet { .. } => "PriceSet",
        }
    }

    /// When it happened, by the clock of the process that decided it.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::ProviderAdded { at, .. }
            | Self::ProviderChanged { at, .. }
            | Self::ModelAdded { at, .. }
            | Self::ModelChanged { at, .. }
            | Self::PriceSet { at, .. } => *at,
        }
    }
}

impl DomainEvent for CatalogEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    /// All shapes are in their first version; an upcaster reads older ones.
    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}
