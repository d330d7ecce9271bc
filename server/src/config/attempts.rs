//! `[attempts]`

use domain::session::AttemptLimits;
use serde::{Deserialize, Serialize};

/// How often a turn is tried before it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "a deployer reads them as keys")]
pub(crate) struct Attempts {
    /// Workers in a row that may be lost before they bring a word.
    pub(crate) max_without_progress: u32,
    /// Answers that a provider may break off.
    pub(crate) max_broken_off: u32,
    /// Attempts of all kinds.
    pub(crate) max_in_all: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        let AttemptLimits { without_progress, broken_off, in_all } = AttemptLimits::default();
        Self {
            max_without_progress: without_progress,
            max_broken_off: broken_off,
            max_in_all: in_all,
        }
    }
}

impl From<&Attempts> for AttemptLimits {
    fn from(attempts: &Attempts) -> Self {
        Self {
            without_progress: attempts.max_without_progress,
            broken_off: attempts.max_broken_off,
            in_all: attempts.max_in_all,
        }
    }
}
