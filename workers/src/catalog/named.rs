//! A provider that asks for one model by the name it has upstream.

use std::sync::Arc;

use async_trait::async_trait;

use crate::provider::{ChunkStream, CompletionRequest, Provider, ProviderError};

pub(super) struct Named {
    pub(super) inner: Arc<dyn Provider>,
    pub(super) model: String,
}

#[async_trait]
impl Provider for Named {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn complete(&self, request: &CompletionRequest) -> Result<ChunkStream, ProviderError> {
        if request.model == self.model {
            return self.inner.complete(request).await;
        }
        let request = CompletionRequest { model: self.model.clone(), ..request.clone() };
        self.inner.complete(&request).await
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.inner.check().await
    }
}
