//! `[[providers]]` and `[[prices]]`: what the catalog is seeded with. The rules for them stand
//! in the domain's catalog, where they hold for what admins do, too.

use std::collections::BTreeMap;

use domain::catalog::{
    CatalogRejection, Continuation, MaxTokensField, NewPrice, ProviderKind, ProviderSpec, Seed,
};
use domain::models::{DEFAULT_POOL, written as models};
use domain::prices::written;
use domain::{Fallback, ModelSpec, Price, Status};
use serde::{Deserialize, Serialize};
use workers::catalog::Providers;

use super::validate::Problem;
use super::{Environment, Purpose};

/// Between the places of models that name none.
const SORT_STEP: i32 = 10;

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderConfig {
    /// Its name, for logs and health.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: ProviderKind,
    /// The URL up to and without `/chat/completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// The environment variable that holds its API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_env: Option<String>,
    /// What the field for the answer's limit is called there.
    #[serde(default)]
    pub(crate) max_tokens_field: MaxTokensField,
    /// How it is asked to go on with an answer that broke off.
    #[serde(default)]
    pub(crate) continuation: Continuation,
    /// Tries after the first one, as long as nothing of the answer came.
    #[serde(default = "max_retries")]
    pub(crate) max_retries: u32,
    /// For a connection.
    #[serde(default = "connect_timeout_ms")]
    pub(crate) connect_timeout_ms: u64,
    /// From the request to the first token.
    #[serde(default = "first_token_timeout_ms")]
    pub(crate) first_token_timeout_ms: u64,
    /// From one token to the next.
    #[serde(default = "inter_token_timeout_ms")]
    pub(crate) inter_token_timeout_ms: u64,
    /// For the whole answer.
    #[serde(default = "total_timeout_ms")]
    pub(crate) total_timeout_ms: u64,
    /// How long the demo takes for a word.
    #[serde(default = "word_pace_ms")]
    pub(crate) word_pace_ms: u64,
    /// Its models.
    pub(crate) models: Vec<ModelConfig>,
}

/// One model of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelConfig {
    /// The name that clients use.
    pub(crate) name: String,
    /// A name for people, if it has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// Tokens of prompt and answer together.
    pub(crate) context: u32,
    /// Tokens of the longest answer.
    pub(crate) max_output: u32,
    /// The model's name at the provider, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_name: Option<String>,
    /// Who is asked where the provider fails.
    #[serde(default, deserialize_with = "models::list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) fallbacks: Vec<Fallback>,
    /// The queue its turns go to.
    #[serde(default = "pool")]
    pub(crate) pool: String,
    /// Whether it is used where none is named.
    #[serde(default)]
    pub(crate) default: bool,
    /// Its place in lists; as in the file, if none is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sort: Option<i32>,
    /// Its price for every service that has none of its own.
    #[serde(
        default,
        deserialize_with = "written::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) price: Option<Price>,
    /// Its prices by service.
    #[serde(
        default,
        deserialize_with = "written::by_name",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) prices: BTreeMap<String, Price>,
}

/// What the catalog is seeded with.
pub(super) fn seed(providers: &[ProviderConfig], prices: &[NewPrice]) -> Seed {
    let mut seed = Seed::default();
    for config in providers {
        seed.providers.push(provider(config));
        for one in &config.models {
            let place = i32::try_from(seed.models.len()).unwrap_or(i32::MAX);
            seed.models.push(model(config, one, place.saturating_mul(SORT_STEP)));
            seed.prices.extend(NewPrice::of_model(&one.name, one.price, &one.prices));
        }
    }
    seed.prices.extend(prices.iter().cloned());
    seed
}

fn provider(config: &ProviderConfig) -> ProviderSpec {
    ProviderSpec {
        name: config.name.clone(),
        kind: config.kind,
        base_url: config.base_url.clone(),
        api_key_env: config.api_key_env.clone(),
        max_tokens_field: config.max_tokens_field,
        continuation: config.continuation,
        max_retries: config.max_retries,
        connect_timeout_ms: config.connect_timeout_ms,
        first_token_timeout_ms: config.first_token_timeout_ms,
        inter_token_timeout_ms: config.inter_token_timeout_ms,
        total_timeout_ms: config.total_timeout_ms,
        word_pace_ms: config.word_pace_ms,
        status: Status::Enabled,
    }
}

fn model(provider: &ProviderConfig, config: &ModelConfig, place: i32) -> ModelSpec {
    ModelSpec {
        name: config.name.clone(),
        display_name: config.display_name.clone(),
        provider: provider.name.clone(),
        upstream_name: config.upstream_name.clone(),
        fallbacks: config.fallbacks.clone(),
        context: config.context,
        max_output: config.max_output,
        pool: config.pool.clone(),
        status: Status::Enabled,
        default: config.default,
        sort: config.sort.unwrap_or(place),
    }
}

/// What is wrong with the providers and prices; to serve, their keys must be there, too.
pub(super) fn check(
    providers: &[ProviderConfig],
    prices: &[NewPrice],
    environment: &Environment,
    purpose: Purpose,
    problems: &mut Vec<Problem>,
) {
    let seed = seed(providers, prices);
    let mut found: Vec<(&str, String)> = Vec::new();
    for rejection in seed.problems() {
        let key = match rejection {
            CatalogRejection::InvalidPrice { .. } => "prices",
            _ => "providers",
        };
        found.push((key, rejection.to_string()));
    }
    for config in providers.iter().filter(|config| config.models.is_empty()) {
        let text = format!("provider {:?}: models must not be empty", config.name);
        found.push(("providers", text));
    }
    if purpose == Purpose::Serve {
        let variables = environment.clone();
        let clients = Providers::new(move |name| variables.get(name).map(str::to_owned));
        for spec in &seed.providers {
            let alone = Seed { providers: vec![spec.clone()], ..Seed::default() };
            // One that breaks a rule has been told of.
            let problem = alone.problems().is_empty().then(|| clients.client(spec).err()).flatten();
            found.extend(problem.map(|error| ("providers", error.message)));
        }
    }
    problems
        .extend(found.into_iter().map(|(key, text)| Problem { path: vec![key.to_owned()], text }));
}

fn usual() -> ProviderSpec {
    ProviderSpec::new("", ProviderKind::OpenAi)
}

fn pool() -> String {
    DEFAULT_POOL.to_owned()
}

fn max_retries() -> u32 {
    usual().max_retries
}

fn connect_timeout_ms() -> u64 {
    usual().connect_timeout_ms
}

fn first_token_timeout_ms() -> u64 {
    usual().first_token_timeout_ms
}

fn inter_token_timeout_ms() -> u64 {
    usual().inter_token_timeout_ms
}

fn total_timeout_ms() -> u64 {
    usual().total_timeout_ms
}

fn word_pace_ms() -> u64 {
    usual().word_pace_ms
}
