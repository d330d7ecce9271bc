//! Who may be asked for an answer.

use domain::Status;
use domain::catalog::{Catalog, ProviderSpec};

use crate::provider::{CompletionRequest, ErrorClass, ProviderError};

/// A way to an answer.
pub(super) struct Route<'a> {
    pub(super) provider: &'a ProviderSpec,
    /// The model's name there.
    pub(super) upstream: &'a str,
    /// Whether it is the model's own provider, and no fallback.
    pub(super) is_own: bool,
}

/// The ways to an answer, at least one, in the order of the model's list. The model's own
/// provider is always among them, whether it is on offer or not: the turn was accepted.
/// Where the answer has begun, only those that can go on with it.
pub(super) fn routes<'a>(
    catalog: &'a Catalog,
    request: &CompletionRequest,
) -> Result<Vec<Route<'a>>, ProviderError> {
    let name = &request.model;
    let model = catalog.model(name).filter(|model| catalog.provider(&model.provider).is_some());
    let Some(model) = model else {
        let what = format!("the model \"{name}\" is not in the catalog");
        return Err(ProviderError::new(ErrorClass::ModelNotFound, what));
    };
    let all = model.routes().enumerate().filter_map(|(place, (provider, upstream))| {
        let provider = catalog.provider(provider)?;
        Some(Route { provider, upstream, is_own: place == 0 })
    });
    let fits = |route: &Route<'_>| {
        let offered = route.is_own || route.provider.status == Status::Enabled;
        let continues = route.provider.can_continue();
        offered && (continues || request.prefix.is_none())
    };
    let routes: Vec<_> = all.filter(fits).collect();
    if routes.is_empty() {
        let what = format!("no provider of the model \"{name}\" can go on with an answer");
        return Err(ProviderError::new(ErrorClass::Misconfigured, what));
    }
    Ok(routes)
}
