//! Changes to a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::models::{Fallback, ModelSpec, Status, written as models};
use crate::prices::{Price, written};

/// Changes to a model; what is absent stays, null removes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelPatch {
    /// See [`ModelSpec::display_name`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Option<String>>,
    /// See [`ModelSpec::provider`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// See [`ModelSpec::upstream_name`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub upstream_name: Option<Option<String>>,
    /// See [`ModelSpec::fallbacks`].
    #[serde(deserialize_with = "models::present", skip_serializing_if = "Option::is_none")]
    pub fallbacks: Option<Vec<Fallback>>,
    /// See [`ModelSpec::context`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// See [`ModelSpec::max_output`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// See [`ModelSpec::pool`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// See [`ModelSpec::status`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// See [`ModelSpec::default`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// See [`ModelSpec::sort`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub sort: Option<i32>,
    /// Its price for every service that has none of its own, from now on.
    #[serde(deserialize_with = "written::present", skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Its prices by service, from now on.
    #[serde(deserialize_with = "written::by_name", skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, Price>,
}

impl ModelSpec {
    /// This model with the changes of `patch`; prices stand elsewhere.
    #[must_use]
    pub fn patched(&self, patch: &ModelPatch) -> Self {
        let text = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
        Self {
            name: self.name.clone(),
            display_name: patch.display_name.clone().unwrap_or_else(|| self.display_name.clone()),
            provider: text(&patch.provider, &self.provider),
            upstream_name: patch
                .upstream_name
                .clone()
                .unwrap_or_else(|| self.upstream_name.clone()),
            fallbacks: patch.fallbacks.as_ref().unwrap_or(&self.fallbacks).clone(),
            context: patch.context.unwrap_or(self.context),
            max_output: patch.max_output.unwrap_or(self.max_output),
            pool: text(&patch.pool, &self.pool),
            status: patch.status.unwrap_or(self.status),
            default: patch.default.unwrap_or(self.default),
            sort: patch.sort.unwrap_or(self.sort),
        }
    }
}
