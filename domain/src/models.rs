//! The models a deployment offers, as far as decisions need to know them.

use serde::{Deserialize, Serialize};

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The name that clients use.
    pub name: String,
    /// The provider that serves it.
    pub provider: String,
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Tokens of the longest answer.
    pub max_output: u32,
    /// The queue its turns go to.
    pub pool: String,
}

/// All models of a deployment; the first is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Models(Vec<ModelSpec>);

impl Models {
    /// The given models, in order of preference.
    pub fn new(models: Vec<ModelSpec>) -> Self {
        Self(models)
    }

    /// The model called `name`.
    pub fn get(&self, name: &str) -> Option<&ModelSpec> {
        self.0.iter().find(|model| model.name == name)
    }

    /// The model used where none is named.
    pub fn default_model(&self) -> Option<&ModelSpec> {
        self.0.first()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ModelSpec> {
        self.0.iter()
    }

    /// The distinct queues, sorted.
    pub fn pools(&self) -> Vec<String> {
        let mut pools: Vec<String> = self.0.iter().map(|model| model.pool.clone()).collect();
        pools.sort();
        pools.dedup();
        pools
    }
}
