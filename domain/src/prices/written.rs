//! Prices as people write them, in a request or in the configuration: a field that nobody knows
//! is refused, for it is most often a misspelt one. Those in the log are read more kindly: a newer
//! version may have added one.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Price;
use crate::credits::Credits;

/// [`Price`], read strictly.
#[derive(Deserialize)]
#[serde(remote = "Price", rename = "Price", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of `Price`")]
struct Strict {
    input_per_1k: Credits,
    #[serde(default)]
    cached_input_per_1k: Option<Credits>,
    output_per_1k: Credits,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Written(#[serde(with = "Strict")] Price);

/// A price that may be absent or null.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| written.0))
}

/// A price that may be absent, but not null.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    Strict::deserialize(deserializer).map(Some)
}

/// Prices by name.
pub fn by_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Price>, D::Error> {
    let written = BTreeMap::<String, Written>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, price)| (name, price.0)).collect())
}
