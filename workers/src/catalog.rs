//! The clients of the catalog's providers. Each is built when it is first needed, and anew when
//! its entry has changed: whoever asks next goes the new way.
//!
//! A provider that this process can't ask (its key's variable is not set here) fails the turns
//! of its models, and no others; `/health` and `doctor` name it.

mod build;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::catalog::{Catalog, ProviderSpec};
use domain::{ModelSpec, Status};

use crate::provider::{ChunkStream, CompletionRequest, ErrorClass, Provider, ProviderError};

/// Looks up environment variables.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The clients of all providers.
pub struct Providers {
    environment: Box<Environment>,
    /// By the provider's name.
    built: Mutex<HashMap<String, Built>>,
}

struct Built {
    /// The entry it was built from.
    spec: ProviderSpec,
    client: Arc<dyn Provider>,
}

impl Providers {
    /// No clients yet; `environment` looks up the variables that hold their keys.
    pub fn new(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { environment: Box::new(environment), built: Mutex::default() }
    }

    /// Starts an answer of the model that the request names, by the name clients know. Whether
    /// the model is on offer is no question here: the turn was accepted.
    ///
    /// # Errors
    /// The provider's, or why it can't be asked.
    pub async fn complete(
        &self,
        catalog: &Catalog,
        request: &CompletionRequest,
    ) -> Result<ChunkStream, ProviderError> {
        let (model, provider) = find(catalog, &request.model)?;
        let client = self.client(provider)?;
        if model.upstream() == request.model {
            return client.complete(request).await;
        }
        let model = model.upstream().to_owned();
        client.complete(&CompletionRequest { model, ..request.clone() }).await
    }

    /// The client of the provider that `spec` describes.
    ///
    /// # Errors
    /// What this process lacks to ask it.
    pub fn client(&self, spec: &ProviderSpec) -> Result<Arc<dyn Provider>, ProviderError> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = built.get(&spec.name).filter(|known| known.spec == *spec) {
            return Ok(Arc::clone(&known.client));
        }
        // One that is of no use any more must not be found.
        built.remove(&spec.name);
        let client = build::client(spec, &self.environment)?;
        let known = Built { spec: spec.clone(), client: Arc::clone(&client) };
        built.insert(spec.name.clone(), known);
        Ok(client)
    }

    /// What is wrong with each of `catalog`'s providers that is on offer, by its name; nothing
    /// for one that can be reached and takes our key.
    pub async fn check(&self, catalog: &Catalog) -> Vec<(String, Option<ProviderError>)> {
        let offered = catalog.providers.values().map(|entry| &entry.spec);
        let offered = offered.filter(|spec| spec.status == Status::Enabled);
        let checks = offered.map(|spec| async move {
            let problem = match self.client(spec) {
                Ok(client) => client.check().await.err(),
                Err(error) => Some(error),
            };
            (spec.name.clone(), problem)
        });
        futures::future::join_all(checks).await
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

fn find<'a>(
    catalog: &'a Catalog,
    name: &str,
) -> Result<(&'a ModelSpec, &'a ProviderSpec), ProviderError> {
    let found = catalog.model(name).and_then(|model| {
        let provider = catalog.provider(&model.provider)?;
        Some((model, provider))
    });
    found.ok_or_else(|| {
        let what = format!("the model \"{name}\" is not in the catalog");
        ProviderError::new(ErrorClass::ModelNotFound, what)
    })
}

#[cfg(test)]
mod tests;
