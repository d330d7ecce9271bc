//! Another provider for the same model.

use serde::{Deserialize, Deserializer, Serialize};

/// A provider that is asked where those before it fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Its name.
    pub provider: String,
    /// The model's name there, if it is another than at the model's own provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_name: Option<String>,
}

/// [`Fallback`], read strictly.
#[derive(Deserialize)]
#[serde(remote = "Fallback", rename = "Fallback", deny_unknown_fields)]
struct Strict {
    provider: String,
    #[serde(default)]
    upstream_name: Option<String>,
}

/// Fallbacks as people write them: a field that nobody knows is refused. Those in the log are
/// read more kindly: a newer version may have added one.
pub mod written {
    use super::{Deserialize, Deserializer, Fallback, Strict};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Written(#[serde(with = "Strict")] Fallback);

    /// A list that may be absent, but not null.
    pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Fallback>, D::Error> {
        let written = Vec::<Written>::deserialize(deserializer)?;
        Ok(written.into_iter().map(|written| written.0).collect())
    }

    /// A list in a patch.
    pub fn present<'de, D>(deserializer: D) -> Result<Option<Vec<Fallback>>, D::Error>
    where
        D: Deserializer<'de>,
    {
        list(deserializer).map(Some)
    }
}
