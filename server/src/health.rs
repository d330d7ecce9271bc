//! The providers' part of `/health`, asked at most every few seconds.

use std::sync::Arc;
use std::time::Duration;

use api::{Probe, ProbeResult};
use async_trait::async_trait;
use commands::CatalogHandle;
use tokio::sync::Mutex;
use tokio::time::Instant;
use workers::catalog::Providers;

/// An answer this old is asked for again.
const FRESH: Duration = Duration::from_secs(10);

/// Asks each provider that is on offer whether it can be reached.
pub(crate) struct ProviderProbe {
    catalog: CatalogHandle,
    providers: Arc<Providers>,
    last: Mutex<Option<Known>>,
}

/// What was found, when, and of which catalog.
struct Known {
    at: Instant,
    version: i64,
    results: Vec<ProbeResult>,
}

impl ProviderProbe {
    pub(crate) fn new(catalog: CatalogHandle, providers: Arc<Providers>) -> Self {
        Self { catalog, providers, last: Mutex::new(None) }
    }
}

#[async_trait]
impl Probe for ProviderProbe {
    async fn probe(&self) -> Vec<ProbeResult> {
        let mut last = self.last.lock().await;
        let current = self.catalog.current();
        let fresh = |known: &&Known| known.at.elapsed() < FRESH && known.version == current.version;
        if let Some(known) = last.as_ref().filter(fresh) {
            return known.results.clone();
        }
        // The words are for the log and for `doctor`: anybody may ask here.
        let result = |(name, problem): (String, Option<workers::provider::ProviderError>)| {
            ProbeResult { name, problem: problem.map(|error| error.code().to_owned()) }
        };
        let checked = self.providers.check(&current.catalog).await;
        let results: Vec<ProbeResult> = checked.into_iter().map(result).collect();
        let (at, version) = (Instant::now(), current.version);
        *last = Some(Known { at, version, results: results.clone() });
        results
    }
}
