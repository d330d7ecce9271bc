//! The models a deployment offers, as far as decisions need to know them.

mod fallback;

use serde::{Deserialize, Serialize};

pub use fallback::{Fallback, written};

/// The queue of a model that names none.
pub const DEFAULT_POOL: &str = "default";

/// Whether something is on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    #[default]
    Enabled,
    /// It is not: new turns are refused. Those that were accepted are still answered.
    Disabled,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The name that clients use.
    pub name: String,
    /// A name for people, if it has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The provider that serves it.
    pub provider: String,
    /// The model's name at the provider, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_name: Option<String>,
    /// Who is asked where the provider fails before it has said anything, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Tokens of the longest answer.
    pub max_output: u32,
    /// The queue its turns go to.
    pub pool: String,
    /// Whether it is on offer.
    #[serde(default)]
    pub status: Status,
    /// Whether it is used where none is named.
    #[serde(default)]
    pub default: bool,
    /// Its place in lists: lowest first.
    #[serde(default)]
    pub sort: i32,
}

impl ModelSpec {
    /// A model that is on offer, with nothing special about it.
    pub fn new(
        name: impl Into<String>,
        provider: impl Into<String>,
        context: u32,
        max_output: u32,
    ) -> Self {
        Self {
            name: name.into(),
            display_name: None,
            provider: provider.into(),
            upstream_name: None,
            fallbacks: Vec::new(),
            context,
            max_output,
            pool: DEFAULT_POOL.to_owned(),
            status: Status::Enabled,
            default: false,
            sort: 0,
        }
    }

    /// Whether new turns may ask for it.
    pub fn is_enabled(&self) -> bool {
        self.status == Status::Enabled
    }

    /// What it is called at its provider.
    pub fn upstream(&self) -> &str {
        self.upstream_name.as_deref().unwrap_or(&self.name)
    }

    /// The names of the providers that may be asked for it, each with what it is called there,
    /// in the order in which they are asked.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        let fallbacks = self.fallbacks.iter().map(|one| {
            (one.provider.as_str(), one.upstream_name.as_deref().unwrap_or(self.upstream()))
        });
        std::iter::once((self.provider.as_str(), self.upstream())).chain(fallbacks)
    }
}

/// All models of a deployment. One whose provider is disabled is disabled, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Models(Vec<ModelSpec>);

impl Models {
    /// The given models, in order of preference.
    pub fn new(models: Vec<ModelSpec>) -> Self {
        Self(models)
    }

    /// The model called `name`, on offer or not.
    pub fn get(&self, name: &str) -> Option<&ModelSpec> {
        self.0.iter().find(|model| model.name == name)
    }

    /// The model used where none is named: the one marked so, else the first. Always one that
    /// is on offer.
    pub fn default_model(&self) -> Option<&ModelSpec> {
        self.enabled().find(|model| model.default).or_else(|| self.enabled().next())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ModelSpec> {
        self.0.iter()
    }

    /// Those on offer.
    pub fn enabled(&self) -> impl Iterator<Item = &ModelSpec> {
        self.0.iter().filter(|model| model.is_enabled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelSpec {
        ModelSpec::new(name, "p", 10, 5)
    }

    fn default_of(models: &[ModelSpec]) -> Option<String> {
        Models::new(models.to_vec()).default_model().map(|model| model.name.clone())
    }

    #[test]
    fn the_default_is_the_marked_one_or_the_first_on_offer() {
        let off = |model: ModelSpec| ModelSpec { status: Status::Disabled, ..model };
        let marked = |model: ModelSpec| ModelSpec { default: true, ..model };
        assert_eq!(default_of(&[model("a"), marked(model("b"))]).as_deref(), Some("b"));
        assert_eq!(default_of(&[model("a"), off(marked(model("b")))]).as_deref(), Some("a"));
        assert_eq!(default_of(&[off(model("a")), model("b")]).as_deref(), Some("b"));
        assert_eq!(default_of(&[off(model("a"))]), None);
    }
}
