//! The catalog at a start: loaded, and brought to what the configuration says.

use std::sync::Arc;

use commands::{Caller, CatalogExecuted, CatalogHandle};
use domain::catalog::{Catalog, CatalogCommand, CatalogContext, CatalogEvent, decide};
use domain::{Actor, Clock, SystemClock, SystemIds, TenantId};
use eventstore::EventStore;
use workers::catalog::Providers;

use crate::config::{Config, Environment};
use crate::error::ServerError;

/// The catalog of `store`, once it holds what the configuration says. With `prune`, what came
/// from the configuration and is no longer in it is disabled.
pub(crate) async fn seeded(
    store: &EventStore,
    config: &Config,
    prune: bool,
) -> Result<(CatalogHandle, CatalogExecuted), ServerError> {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let handle = CatalogHandle::load(store.clone(), clock, ids).await?;
    let command = CatalogCommand::SeedCatalog { seed: config.seed(), prune };
    let caller = Caller::system(TenantId::deployment(), "configuration");
    let executed = handle.execute(&command, &caller).await?;
    for event in &executed.events {
        tracing::info!("catalog: {}", describe(event));
    }
    Ok((handle, executed))
}

/// `catalog` as the next start will find it.
pub(crate) fn foreseen(mut catalog: Catalog, config: &Config) -> Catalog {
    let command = CatalogCommand::SeedCatalog { seed: config.seed(), prune: false };
    let actor = Actor::system(TenantId::deployment());
    let context = CatalogContext { now: SystemClock.now(), actor };
    for event in decide(&catalog, &command, &context).unwrap_or_default() {
        catalog.apply(&event);
    }
    catalog
}

/// The clients of providers, with the keys of this process's environment.
pub(crate) fn providers() -> Providers {
    let environment = Environment::of_process();
    Providers::new(move |name| environment.get(name).map(str::to_owned))
}

/// What happened, for a person.
pub(crate) fn describe(event: &CatalogEvent) -> String {
    match event {
        CatalogEvent::ProviderAdded { spec, .. } => format!("provider {} is added", spec.name),
        CatalogEvent::ProviderChanged { spec, .. } if spec.status == domain::Status::Disabled => {
            format!("provider {} is changed; it is disabled", spec.name)
        }
        CatalogEvent::ProviderChanged { spec, .. } => format!("provider {} is changed", spec.name),
        CatalogEvent::ModelAdded { spec, .. } => format!("model {} is added", spec.name),
        CatalogEvent::ModelChanged { spec, .. } if !spec.is_enabled() => {
            format!("model {} is changed; it is disabled", spec.name)
        }
        CatalogEvent::ModelChanged { spec, .. } => format!("model {} is changed", spec.name),
        CatalogEvent::PriceSet { entry, .. } => {
            let (model, service, from) = (&entry.model, &entry.service, entry.from.format("%F %T"));
            format!("model {model} has a new price for service {service} from {from} UTC on")
        }
    }
}
