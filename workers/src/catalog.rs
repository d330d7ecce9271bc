//! The clients of the catalog's providers. Each is built when it is first needed, and anew when
//! its entry has changed: whoever asks next goes the new way.
//!
//! A provider that this process can't ask (its key's variable is not set here) fails the turns
//! of its models that have no other, and no more; `/health` and `doctor` name it.

mod build;
mod failures;
mod rest;
mod routes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Status;
use domain::catalog::{Catalog, ProviderSpec};

use self::failures::Failures;
use self::rest::Rest;
use self::routes::{Route, routes};
use crate::provider::{ChunkStream, CompletionRequest, Provider, ProviderError};

/// Looks up environment variables.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The clients of all providers.
pub struct Providers {
    environment: Box<Environment>,
    /// By the provider's name.
    built: Mutex<HashMap<String, Built>>,
    rest: Rest,
}

/// An answer that has begun.
pub struct Answering {
    /// The name of the provider that gives it.
    pub provider: String,
    /// The answer.
    pub chunks: ChunkStream,
}

struct Built {
    /// The entry it was built from.
    spec: ProviderSpec,
    client: Arc<dyn Provider>,
}

impl Providers {
    /// No clients yet; `environment` looks up the variables that hold their keys.
    pub fn new(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { environment: Box::new(environment), built: Mutex::default(), rest: Rest::default() }
    }

    /// Starts an answer of the model that the request names, by the name clients know. Whether
    /// the model is on offer is no question here: the turn was accepted.
    ///
    /// Where a provider fails before the first chunk, the next one of the model's list is
    /// asked; not where the model's own says that the request is at fault.
    ///
    /// # Errors
    /// The provider's, or why it can't be asked. Of several that failed, the first that may
    /// pass, or else the first; it names them all.
    pub async fn complete(
        &self,
        catalog: &Catalog,
        request: &CompletionRequest,
    ) -> Result<Answering, ProviderError> {
        let mut routes = routes(catalog, request)?;
        routes.sort_by_cached_key(|route| self.rest.holds(&route.provider.name));
        let mut failures = Failures::default();
        for (place, route) in routes.iter().enumerate() {
            let name = &route.provider.name;
            let error = match self.ask(route, request).await {
                Ok(chunks) => return Ok(Answering { provider: name.clone(), chunks }),
                Err(error) if route.is_own && error.is_of_request() => return Err(error),
                Err(error) => error,
            };
            if let Some(next) = routes.get(place + 1) {
                let (model, next) = (&request.model, &next.provider.name);
                let code = error.code();
                tracing::warn!(provider = name, model, code, %error, next, "the next one is asked");
            }
            failures.push(name, error);
        }
        Err(failures.most_telling())
    }

    /// Whether the provider of `model` can go on with an answer that broke off.
    pub fn can_continue(catalog: &Catalog, model: &str) -> bool {
        let provider = catalog.model(model).and_then(|model| catalog.provider(&model.provider));
        provider.is_some_and(ProviderSpec::can_continue)
    }

    async fn ask(
        &self,
        route: &Route<'_>,
        request: &CompletionRequest,
    ) -> Result<ChunkStream, ProviderError> {
        let client = self.client(route.provider)?;
        self.rest.ask(&route.provider.name);
        let asked = if route.upstream == request.model {
            client.complete(request).await
        } else {
            let model = route.upstream.to_owned();
            client.complete(&CompletionRequest { model, ..request.clone() }).await
        };
        self.rest.learn(&route.provider.name, asked.as_ref().err());
        asked
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

#[cfg(test)]
mod tests;
