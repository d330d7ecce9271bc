//! Reading changes: a field that is absent stays as it is.

use serde::{Deserialize, Deserializer};

/// A field that is there: null is no absence. With `#[serde(default)]`, an absent one is `None`;
/// where `T` is an option itself, null takes the value away.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
