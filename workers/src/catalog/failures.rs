//! What went wrong at one provider after the other.

use crate::provider::{ErrorClass, ProviderError};

/// The failures so far, each with its provider's name.
#[derive(Default)]
pub(super) struct Failures(Vec<(String, ProviderError)>);

impl Failures {
    pub(super) fn push(&mut self, provider: &str, error: ProviderError) {
        self.0.push((provider.to_owned(), error));
    }

    /// The first failure that may pass, for then it is worth coming again; or else the first.
    pub(super) fn most_telling(mut self) -> ProviderError {
        let names = self.0.iter().map(|(name, error)| format!("{name} {}", error.code()));
        let names = names.collect::<Vec<_>>().join(", ");
        let place = self.0.iter().position(|(_, error)| error.is_retryable()).unwrap_or(0);
        if self.0.is_empty() {
            return ProviderError::new(ErrorClass::Misconfigured, "nobody was asked");
        }
        let (_, mut error) = self.0.swap_remove(place);
        if !self.0.is_empty() {
            error.message = format!("{} (asked were: {names})", error.message);
        }
        error
    }
}
