//! Which models there are, and which provider serves each: what `[[providers]]` in the
//! configuration says, checked and built.

mod build;
mod config;
mod named;

use std::collections::HashMap;
use std::sync::Arc;

use domain::Models;

pub use build::{CatalogError, build, models};
pub use config::{DEFAULT_POOL, ModelConfig, ProviderConfig, ProviderKind};

use crate::provider::{ChunkStream, CompletionRequest, ErrorClass, Provider, ProviderError};

/// The models of a deployment and their providers.
#[derive(Clone)]
pub struct Catalog {
    /// The models, as decisions see them; the first is the default.
    pub models: Arc<Models>,
    providers: Vec<Arc<dyn Provider>>,
    by_model: HashMap<String, Arc<dyn Provider>>,
}

impl Catalog {
    /// Starts an answer of the model that the request names, by the name clients know.
    pub async fn complete(
        &self,
        request: &CompletionRequest,
    ) -> Result<ChunkStream, ProviderError> {
        match self.by_model.get(&request.model) {
            Some(provider) => provider.complete(request).await,
            None => Err(ProviderError::new(
                ErrorClass::ModelNotFound,
                format!("the model \"{}\" is not configured", request.model),
            )),
        }
    }

    /// The provider that serves the model called `model`. It asks for that model by the name
    /// it has upstream, whatever name the request holds.
    pub fn provider_for(&self, model: &str) -> Option<Arc<dyn Provider>> {
        self.by_model.get(model).cloned()
    }

    /// All providers, each once, in the order of the configuration.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.iter()
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("models", &self.models).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
