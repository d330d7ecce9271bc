//! What can be asked of the catalog.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::model::ModelPatch;
use super::provider::{ProviderKind, ProviderPatch};
use super::seed::Seed;
use crate::credits::Credits;
use crate::models::{Fallback, Status, written as models};
use crate::prices::{ANY_SERVICE, Price, written};

/// A provider to be added. What is absent is as usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewProvider {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// The rest.
    #[serde(flatten)]
    pub rest: ProviderPatch,
}

/// A model to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// The name that clients will use.
    pub name: String,
    /// A name for people, if it has another.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The provider that serves it.
    pub provider: String,
    /// The model's name at the provider, if it is another.
    #[serde(default)]
    pub upstream_name: Option<String>,
    /// Who is asked where the provider fails.
    #[serde(default, deserialize_with = "models::list", skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Tokens of the longest answer.
    pub max_output: u32,
    /// The queue its turns go to, if it is not the usual one.
    #[serde(default)]
    pub pool: Option<String>,
    /// Whether it is on offer.
    #[serde(default)]
    pub status: Status,
    /// Whether it is used where none is named.
    #[serde(default)]
    pub default: bool,
    /// Its place in lists; the last, if it has none.
    #[serde(default)]
    pub sort: Option<i32>,
    /// Its price for every service that has none of its own.
    #[serde(default, deserialize_with = "written::optional")]
    pub price: Option<Price>,
    /// Its prices by service.
    #[serde(default, deserialize_with = "written::by_name")]
    pub prices: BTreeMap<String, Price>,
}

/// A price to be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPrice {
    /// The service, or [`ANY_SERVICE`].
    #[serde(default = "any_service")]
    pub service: String,
    /// The model's name.
    pub model: String,
    /// See [`Price::input_per_1k`].
    pub input_per_1k: Credits,
    /// See [`Price::cached_input_per_1k`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_per_1k: Option<Credits>,
    /// See [`Price::output_per_1k`].
    pub output_per_1k: Credits,
    /// From when on; from now on, if absent. May lie in the past: a correction of what is used
    /// from now on, for a turn keeps the price with which it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
}

impl NewPrice {
    /// `price` from now on.
    pub fn new(service: impl Into<String>, model: impl Into<String>, price: Price) -> Self {
        Self {
            service: service.into(),
            model: model.into(),
            input_per_1k: price.input_per_1k,
            cached_input_per_1k: price.cached_input_per_1k,
            output_per_1k: price.output_per_1k,
            from: None,
        }
    }

    /// The prices of `model` by service; `price` is that of any service.
    pub fn of_model(
        model: &str,
        price: Option<Price>,
        prices: &BTreeMap<String, Price>,
    ) -> Vec<Self> {
        let any = price.map(|price| Self::new(ANY_SERVICE, model, price));
        let others = prices.iter().map(|(service, price)| Self::new(service, model, *price));
        any.into_iter().chain(others).collect()
    }

    /// What a thousand tokens cost.
    pub fn price(&self) -> Price {
        Price {
            input_per_1k: self.input_per_1k,
            cached_input_per_1k: self.cached_input_per_1k,
            output_per_1k: self.output_per_1k,
        }
    }
}

fn any_service() -> String {
    ANY_SERVICE.to_owned()
}

/// A command to the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CatalogCommand {
    /// Adds a provider.
    AddProvider(NewProvider),
    /// Changes a provider.
    ChangeProvider {
        /// Its name.
        name: String,
        /// The changes.
        patch: ProviderPatch,
    },
    /// Adds a model.
    AddModel(NewModel),
    /// Changes a model.
    ChangeModel {
        /// Its name.
        name: String,
        /// The changes.
        patch: ModelPatch,
    },
    /// Sets a price.
    SetPrice(NewPrice),
    /// Takes in what the configuration says.
    SeedCatalog {
        /// What it says.
        seed: Seed,
        /// Whether what it no longer names is disabled.
        prune: bool,
    },
}

impl CatalogCommand {
    /// The command's name, as in the metadata of its events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddProvider(_) => "AddProvider",
            Self::ChangeProvider { .. } => "ChangeProvider",
            Self::AddModel(_) => "AddModel",
            Self::ChangeModel { .. } => "ChangeModel",
            Self::SetPrice(_) => "SetPrice",
            Self::SeedCatalog { .. } => "SeedCatalog",
        }
    }
}
