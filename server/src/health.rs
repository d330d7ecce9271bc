//! The providers' part of `/health`, asked at most every few seconds.

use std::sync::Arc;
use std::time::Duration;

use api::{Probe, ProbeResult};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use workers::catalog::Catalog;

/// An answer this old is asked for again.
const FRESH: Duration = Duration::from_secs(10);

/// Asks each provider whether it can be reached.
pub(crate) struct Providers {
    catalog: Arc<Catalog>,
    last: Mutex<Option<(Instant, Vec<ProbeResult>)>>,
}

impl Providers {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, last: Mutex::new(None) }
    }
}

#[async_trait]
impl Probe for Providers {
    async fn probe(&self) -> Vec<ProbeResult> {
        let mut last = self.last.lock().await;
        if let Some((_, results)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return results.clone();
        }
        let checks = self.catalog.providers().map(|provider| async move {
            // The words are for the log and for `doctor`: anybody may ask here.
            let problem = provider.check().await.err().map(|error| error.code().to_owned());
            ProbeResult { name: provider.name().to_owned(), problem }
        });
        let results = futures::future::join_all(checks).await;
        *last = Some((Instant::now(), results.clone()));
        results
    }
}
