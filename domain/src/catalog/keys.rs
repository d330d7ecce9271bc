//! Which key may go to which server.
//!
//! A provider's key is sent to its `base_url`. Whoever may write both could have any secret of
//! the process sent to a server of theirs. So a variable that the configuration file names is
//! good for the `base_url` that the file gives with it, and nowhere else; and admins may
//! otherwise name only variables that are meant for them.

use std::collections::BTreeSet;

use super::provider::ProviderSpec;
use super::rejection::CatalogRejection;
use super::state::Catalog;

/// How the name of a variable must begin and end that only admins name.
const PREFIX: &str = "COLLOQUY_";
const SUFFIX: &str = "_API_KEY";

/// The variables that the file names, each with its `base_url`.
pub(super) struct Keys(BTreeSet<(String, Option<String>)>);

impl Keys {
    /// Those of the file as `catalog` has it, or as `file` says where it names the provider.
    pub(super) fn of(catalog: &Catalog, file: &[ProviderSpec]) -> Self {
        let named = |name: &str| file.iter().any(|spec| spec.name == name);
        let before = catalog.providers.values().filter_map(|entry| entry.seeded.as_ref());
        let specs = before.filter(|spec| !named(&spec.name)).chain(file);
        let pair = |spec: &ProviderSpec| Some((spec.api_key_env.clone()?, spec.base_url.clone()));
        Self(specs.filter_map(pair).collect())
    }

    /// Whether the provider would send a key of the file's to another server.
    pub(super) fn stray_in(&self, spec: &ProviderSpec) -> bool {
        let Some(variable) = &spec.api_key_env else { return false };
        let mut bound = self.0.iter().filter(|(name, _)| name == variable).peekable();
        bound.peek().is_some() && !bound.any(|(_, url)| *url == spec.base_url)
    }

    /// Whether an admin may have the provider use its variable.
    pub(super) fn check(&self, spec: &ProviderSpec) -> Result<(), CatalogRejection> {
        let Some(variable) = &spec.api_key_env else { return Ok(()) };
        let problem = if self.stray_in(spec) {
            format!(
                "api_key_env: the configuration file has {variable} for another base_url, and it \
                 is sent nowhere else; name another variable, or change the file"
            )
        } else if self.0.iter().any(|(name, _)| name == variable)
            || variable.starts_with(PREFIX) && variable.ends_with(SUFFIX)
        {
            return Ok(());
        } else {
            format!(
                "api_key_env must begin with {PREFIX} and end in {SUFFIX}; the configuration file \
                 may name other variables, each for the base_url that it gives with it"
            )
        };
        let provider = spec.name.clone();
        Err(CatalogRejection::InvalidProvider { provider, field: "api_key_env", problem })
    }
}
