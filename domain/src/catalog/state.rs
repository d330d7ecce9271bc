//! The catalog as its events leave it. `apply` is total: it never fails and never decides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::CatalogEvent;
use super::provider::ProviderSpec;
use crate::models::{ModelSpec, Models, Status};
use crate::prices::{PriceBook, PriceEntry};

/// A provider or a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<T> {
    /// What it is now.
    pub spec: T,
    /// What the configuration said of it last; none if it never did.
    pub seeded: Option<T>,
}

/// All providers, models and prices of the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The providers by name.
    pub providers: BTreeMap<String, Entry<ProviderSpec>>,
    /// The models by name.
    pub models: BTreeMap<String, Entry<ModelSpec>>,
    /// The prices.
    pub prices: PriceBook,
    /// Those of the prices that the configuration set, in order.
    pub seeded_prices: Vec<PriceEntry>,
    /// Every queue that a model ever had: turns may still wait there.
    pub pools: BTreeSet<String>,
}

impl Catalog {
    /// Takes `event` in.
    pub fn apply(&mut self, event: &CatalogEvent) {
        use CatalogEvent as E;
        match event {
            E::ProviderAdded { spec, seeded, .. } | E::ProviderChanged { spec, seeded, .. } => {
                put(&mut self.providers, &spec.name, spec, seeded.as_ref());
            }
            E::ModelAdded { spec, seeded, .. } | E::ModelChanged { spec, seeded, .. } => {
                if spec.default {
                    for other in self.models.values_mut() {
                        other.spec.default = false;
                    }
                }
                self.pools.insert(spec.pool.clone());
                put(&mut self.models, &spec.name, spec, seeded.as_ref());
            }
            E::PriceSet { entry, seeded, at, .. } => {
                self.prices.set(entry.clone(), *at);
                if *seeded {
                    self.seeded_prices.push(entry.clone());
                }
            }
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty() && self.models.is_empty()
    }

    /// The provider called `name`.
    pub fn provider(&self, name: &str) -> Option<&ProviderSpec> {
        self.providers.get(name).map(|entry| &entry.spec)
    }

    /// The model called `name`.
    pub fn model(&self, name: &str) -> Option<&ModelSpec> {
        self.models.get(name).map(|entry| &entry.spec)
    }

    /// The models as decisions see them, by `sort` and name.
    pub fn models(&self) -> Models {
        let mut models: Vec<ModelSpec> = self
            .models
            .values()
            .map(|entry| {
                let provider = self.provider(&entry.spec.provider);
                let offered = provider.is_some_and(|one| one.status == Status::Enabled);
                let status = if offered { entry.spec.status } else { Status::Disabled };
                ModelSpec { status, ..entry.spec.clone() }
            })
            .collect();
        // Stable: names stay in order.
        models.sort_by_key(|model| model.sort);
        Models::new(models)
    }
}

fn put<T: Clone>(
    entries: &mut BTreeMap<String, Entry<T>>,
    name: &str,
    spec: &T,
    seeded: Option<&T>,
) {
    let before = entries.remove(name).and_then(|entry| entry.seeded);
    let seeded = seeded.cloned().or(before);
    entries.insert(name.to_owned(), Entry { spec: spec.clone(), seeded });
}
