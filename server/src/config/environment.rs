//! The process's environment: the one place that reads it.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

const PREFIX: &str = "COLLOQUY_";

/// Lists that one variable sets as a whole.
const LISTS: [&str; 3] = ["prices", "providers", "webhooks"];

/// The names under which other tools know two of our keys.
const WELL_KNOWN: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("NATS_URL", "nats.url")];

/// Variables that are set, and not to nothing: an empty one is what `${NAME:-}` makes of one
/// that isn't set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What this process was started with. Variables that are no Unicode are not ours.
    pub(crate) fn of_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(unicode).collect()
    }

    /// The variable called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variables that set keys of the configuration, weakest first. `defaults` tells
    /// which keys hold text, so that a password of digits stays one.
    ///
    /// A name without `__` names no key: orchestrators set such variables on their own for a
    /// service called "colloquy".
    pub(super) fn settings(&self, defaults: &Value) -> Vec<Setting> {
        let well_known = WELL_KNOWN.into_iter().filter_map(|(name, key)| {
            Some(Setting::new(name, key.to_owned(), self.get(name)?, defaults))
        });
        let ours = self.0.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?.to_lowercase();
            let is_key = key.contains("__") || LISTS.contains(&key.as_str());
            is_key.then(|| Setting::new(name, key.replace("__", "."), value, defaults))
        });
        well_known.chain(ours).collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect())
    }
}

/// A variable that sets a key; it goes by its own name in errors.
pub(super) struct Setting {
    name: String,
    key: String,
    value: Value,
}

impl Setting {
    fn new(name: &str, key: String, text: &str, defaults: &Value) -> Self {
        // Of tiers with names of their own, the defaults know nothing.
        let is_value = LISTS.contains(&key.as_str()) || key.starts_with("tiers.");
        let is_text =
            !is_value && matches!(defaults.find_ref(&key), None | Some(Value::String(..)));
        let value = if is_text { Value::from(text) } else { parsed(text) };
        Self { name: name.to_owned(), key, value }
    }
}

/// Numbers, switches and lists, as in TOML.
fn parsed(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::from(text))
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(nested.into_dict().unwrap_or_default()).map(|dict| Profile::Default.collect(dict))
    }
}
