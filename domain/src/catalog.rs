//! The catalog: which providers and models a deployment has, and what they cost. One aggregate
//! for the whole deployment.
//!
//! Its entries come from two sides: the configuration file seeds them at each start, admins
//! change them over the API. Of every entry the catalog remembers what the file said last, so
//! that an edit of the file takes effect, and what admins made of the rest stays
//! (`catalog/seed.rs`).

mod check;
mod command;
mod decide;
mod event;
mod keys;
mod model;
mod price;
mod provider;
mod reach;
mod rejection;
mod seed;
mod state;

pub use command::{CatalogCommand, NewModel, NewPrice, NewProvider};
pub use decide::{CatalogContext, decide};
pub use event::CatalogEvent;
pub use model::ModelPatch;
pub use provider::{Continuation, MaxTokensField, ProviderKind, ProviderPatch, ProviderSpec};
pub use rejection::CatalogRejection;
pub use seed::Seed;
pub use state::{Catalog, Entry};

/// The aggregate's name in the log.
pub const CATALOG: &str = "catalog";

/// The id of the one catalog there is.
pub const CATALOG_ID: uuid::Uuid = uuid::Uuid::from_u128(0x6361_7461_6c6f_8067_8000_0000_0000_0001);

crate::aggregate::aggregate!(
    Catalog,
    CATALOG,
    CatalogCommand,
    CatalogEvent,
    CatalogRejection,
    CatalogContext,
    decide
);
