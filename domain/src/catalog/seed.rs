//! Taking in what the configuration says.
//!
//! The configuration and the admins speak of the same entries. What the configuration said
//! last is remembered with each of them: a value that it has changed since takes effect, and
//! one that it has not keeps what admins made of it.

use std::collections::BTreeSet;

use chrono::SubsecRound;
use serde::{Deserialize, Serialize};

use super::check::{check_model, check_price, check_provider, invalid_price};
use super::command::NewPrice;
use super::decide::{CatalogContext, entry};
use super::event::CatalogEvent;
use super::keys::Keys;
use super::provider::{ProviderKind, ProviderSpec};
use super::rejection::CatalogRejection;
use super::state::{Catalog, Entry};
use crate::models::{ModelSpec, Status};

/// What the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seed {
    /// The providers. If there are none, the demo stands in for an empty catalog.
    pub providers: Vec<ProviderSpec>,
    /// Their models, in order.
    pub models: Vec<ModelSpec>,
    /// Their prices.
    pub prices: Vec<NewPrice>,
}

impl Seed {
    /// The demo that stands in when nothing is configured.
    pub fn demo() -> Self {
        Self {
            providers: vec![ProviderSpec::new("demo", ProviderKind::Demo)],
            models: vec![ModelSpec::new("demo", "demo", 8192, 1024)],
            prices: Vec::new(),
        }
    }

    /// Everything that is wrong with it, at most one thing an entry.
    pub fn problems(&self) -> Vec<CatalogRejection> {
        let mut problems = Vec::new();
        for (index, spec) in self.providers.iter().enumerate() {
            problems.extend(check_provider(spec).err());
            if self.providers[..index].iter().any(|other| other.name == spec.name) {
                problems.push(CatalogRejection::ProviderExists(spec.name.clone()));
            }
        }
        for (index, spec) in self.models.iter().enumerate() {
            problems.extend(check_model(spec).err().or_else(|| self.fallback_problem(spec)));
            let other = self.models[..index].iter().find(|other| other.name == spec.name);
            problems.extend(other.map(|other| CatalogRejection::ModelExists {
                model: spec.name.clone(),
                provider: spec.provider.clone(),
                by: other.provider.clone(),
            }));
        }
        let marked = self.models.iter().filter(|spec| spec.default);
        problems.extend(marked.skip(1).map(|second| CatalogRejection::InvalidModel {
            provider: second.provider.clone(),
            model: second.name.clone(),
            field: "default",
            problem: "another model is the default one already".to_owned(),
        }));
        for (index, price) in self.prices.iter().enumerate() {
            problems.extend(check_price(price).err().or_else(|| self.price_problem(index, price)));
        }
        problems
    }

    fn fallback_problem(&self, spec: &ModelSpec) -> Option<CatalogRejection> {
        let named = |name: &str| self.providers.iter().any(|provider| provider.name == name);
        let missing = spec.fallbacks.iter().find(|one| !named(&one.provider))?;
        let name = &missing.provider;
        Some(CatalogRejection::InvalidModel {
            provider: spec.provider.clone(),
            model: spec.name.clone(),
            field: "fallbacks",
            problem: format!(
                "fallbacks names provider {name:?}, which is not in the configuration"
            ),
        })
    }

    fn price_problem(&self, index: usize, price: &NewPrice) -> Option<CatalogRejection> {
        let named = self.models.iter().any(|spec| spec.name == price.model);
        if !named && !self.providers.is_empty() {
            let problem = "the configuration has no model of this name";
            return Some(invalid_price(price, "model", problem));
        }
        let same = |other: &&NewPrice| other.service == price.service && other.model == price.model;
        let other = self.prices[..index].iter().filter(same).any(|other| {
            // Which of two would hold, of which one begins whenever it is first read?
            other.from == price.from || other.from.is_none() || price.from.is_none()
        });
        let problem = "there is another one; each of several needs a `from` of its own";
        other.then(|| invalid_price(price, "from", problem))
    }
}

/// The events that bring `catalog` to what `seed` says; none if it is so already.
pub(super) fn reconcile(
    catalog: &Catalog,
    seed: &Seed,
    prune: bool,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    if let Some(problem) = seed.problems().into_iter().next() {
        return Err(problem);
    }
    let demo = Seed::demo();
    let entries = if seed.providers.is_empty() { &demo } else { seed };
    let stands_in = seed.providers.is_empty();
    let mut seeding = Seeding { catalog: catalog.clone(), events: Vec::new(), context };
    if !stands_in || catalog.is_empty() {
        let keys = Keys::of(catalog, &entries.providers);
        entries.providers.iter().for_each(|spec| seeding.provider(spec, &keys));
        seeding.keep_keys(&keys);
        entries.models.iter().for_each(|spec| seeding.model(spec));
    }
    seeding.retire(entries, prune, stands_in);
    seed.prices.iter().for_each(|price| seeding.price(price));
    Ok(seeding.events)
}

/// A value of each field: the file's where it has changed it since `before`, else the present
/// one.
macro_rules! merged {
    ($kind:ident, $file:expr, $before:expr, $now:expr, [$($field:ident)*]) => {
        $kind {
            name: $file.name.clone(),
            $($field: if $file.$field == $before.$field {
                $now.$field.clone()
            } else {
                $file.$field.clone()
            },)*
        }
    };
}

struct Seeding<'a> {
    /// As the events so far leave it.
    catalog: Catalog,
    events: Vec<CatalogEvent>,
    context: &'a CatalogContext,
}

impl Seeding<'_> {
    fn push(&mut self, event: CatalogEvent) {
        self.catalog.apply(&event);
        self.events.push(event);
    }

    fn provider(&mut self, file: &ProviderSpec, keys: &Keys) {
        let (by, at) = (self.context.actor.user_id.clone(), self.context.now);
        let seeded = Some(file.clone());
        let spec = match self.catalog.providers.get(&file.name) {
            None => {
                let spec = file.clone();
                return self.push(CatalogEvent::ProviderAdded { spec, seeded, by, at });
            }
            Some(entry) if entry.seeded == seeded => return,
            Some(Entry { seeded: None, .. }) => file.clone(),
            Some(Entry { spec: now, seeded: Some(before) }) => {
                let mut merged = merged!(ProviderSpec, file, before, now, [
                    kind base_url api_key_env max_tokens_field continuation max_retries
                    connect_timeout_ms first_token_timeout_ms inter_token_timeout_ms
                    total_timeout_ms word_pace_ms status
                ]);
                // Where a key goes is one decision: nobody meant half of it.
                let same = file.base_url == before.base_url
                    && file.api_key_env == before.api_key_env
                    && keys.check(&merged).is_ok();
                if !same {
                    merged.base_url.clone_from(&file.base_url);
                    merged.api_key_env.clone_from(&file.api_key_env);
                }
                // The file's changes and the admins' may not go together. What was disabled in
                // an emergency stays so.
                match check_provider(&merged) {
                    Ok(()) => merged,
                    Err(_) => ProviderSpec { status: merged.status, ..file.clone() },
                }
            }
        };
        self.push(CatalogEvent::ProviderChanged { spec, seeded, by, at });
    }

    fn model(&mut self, file: &ModelSpec) {
        let (by, at) = (self.context.actor.user_id.clone(), self.context.now);
        let seeded = Some(file.clone());
        let spec = match self.catalog.models.get(&file.name) {
            None => {
                let spec = file.clone();
                return self.push(CatalogEvent::ModelAdded { spec, seeded, by, at });
            }
            Some(entry) if entry.seeded == seeded => return,
            Some(Entry { seeded: None, .. }) => file.clone(),
            Some(Entry { spec: now, seeded: Some(before) }) => {
                let merged = merged!(ModelSpec, file, before, now, [
                    display_name provider upstream_name fallbacks context max_output pool status default sort
                ]);
                match check_model(&merged) {
                    Ok(()) => merged,
                    Err(_) => ModelSpec { status: merged.status, ..file.clone() },
                }
            }
        };
        self.push(CatalogEvent::ModelChanged { spec, seeded, by, at });
    }

    /// Takes the keys that are the file's now from every other server that they went to: the
    /// provider goes back to what the file said of it, or stays without a key.
    fn keep_keys(&mut self, keys: &Keys) {
        let (by, at) = (&self.context.actor.user_id, self.context.now);
        let entries = self.catalog.providers.values();
        let strays = entries.filter(|entry| keys.stray_in(&entry.spec));
        let events: Vec<_> = strays
            .map(|Entry { spec, seeded }| {
                let before = seeded.as_ref();
                let base_url = before.map_or(&spec.base_url, |file| &file.base_url).clone();
                let api_key_env = before.and_then(|file| file.api_key_env.clone());
                let spec = ProviderSpec { base_url, api_key_env, ..spec.clone() };
                CatalogEvent::ProviderChanged { spec, seeded: None, by: by.clone(), at }
            })
            .collect();
        for event in events {
            self.push(event);
        }
    }

    /// Disables what came from the configuration and is no longer in it: all of it with
    /// `prune`; else only the demo, which has stood in long enough once there is anything else.
    fn retire(&mut self, seed: &Seed, prune: bool, stands_in: bool) {
        let (by, at) = (&self.context.actor.user_id, self.context.now);
        let named: BTreeSet<&str> = seed.providers.iter().map(|spec| spec.name.as_str()).collect();
        let retired =
            |kind: Option<ProviderKind>| prune || !stands_in && kind == Some(ProviderKind::Demo);
        let mut events = Vec::new();
        for Entry { spec, seeded } in self.catalog.providers.values() {
            let Some(before) = seeded.as_ref().filter(|one| one.status == Status::Enabled) else {
                continue;
            };
            if !named.contains(spec.name.as_str()) && retired(Some(spec.kind)) {
                let spec = ProviderSpec { status: Status::Disabled, ..spec.clone() };
                let seeded = Some(ProviderSpec { status: Status::Disabled, ..before.clone() });
                events.push(CatalogEvent::ProviderChanged { spec, seeded, by: by.clone(), at });
            }
        }
        let named: BTreeSet<&str> = seed.models.iter().map(|spec| spec.name.as_str()).collect();
        for Entry { spec, seeded } in self.catalog.models.values() {
            let Some(before) = seeded.as_ref().filter(|one| one.status == Status::Enabled) else {
                continue;
            };
            let kind = self.catalog.provider(&spec.provider).map(|provider| provider.kind);
            if !named.contains(spec.name.as_str()) && retired(kind) {
                let spec = ModelSpec { status: Status::Disabled, ..spec.clone() };
                let seeded = Some(ModelSpec { status: Status::Disabled, ..before.clone() });
                events.push(CatalogEvent::ModelChanged { spec, seeded, by: by.clone(), at });
            }
        }
        for event in events {
            self.push(event);
        }
    }

    fn price(&mut self, file: &NewPrice) {
        let from = file.from.map(|from| from.trunc_subsecs(6));
        let last = self.catalog.seeded_prices.iter().rev().find(|there| {
            let same = there.service == file.service && there.model == file.model;
            same && from.is_none_or(|from| there.from == from)
        });
        if last.is_some_and(|last| last.price == file.price()) {
            return;
        }
        let (by, at) = (self.context.actor.user_id.clone(), self.context.now);
        let entry = entry(&self.catalog, file, 0, at);
        self.push(CatalogEvent::PriceSet { entry, seeded: true, by, at });
    }
}
