//! The rules of the catalog: what a command makes happen, or why it is refused.
//!
//! Pure: the same state, command and context always give the same events.

use chrono::{DateTime, SubsecRound, Utc};

use super::check::{check_model, check_price, check_provider, invalid_price};
use super::command::{CatalogCommand, NewModel, NewPrice, NewProvider};
use super::event::CatalogEvent;
use super::keys::Keys;
use super::model::ModelPatch;
use super::price;
use super::provider::{ProviderPatch, ProviderSpec};
use super::reach::check_reach;
use super::rejection::CatalogRejection;
use super::seed;
use super::state::Catalog;
use crate::models::{DEFAULT_POOL, ModelSpec};
use crate::prices::{ANY_SERVICE, PriceEntry};
use crate::{Actor, ActorRole};

/// What surrounds a command: the caller and the time.
#[derive(Debug, Clone)]
pub struct CatalogContext {
    /// The command's time; every event it makes carries it.
    pub now: DateTime<Utc>,
    /// Who asks.
    pub actor: Actor,
}

/// Between the places that models get which name none: so that others fit between them.
const SORT_STEP: i32 = 10;

/// Decides `command` on `catalog`. What is asked for but already so makes no event.
pub fn decide(
    catalog: &Catalog,
    command: &CatalogCommand,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    use CatalogCommand as C;
    let seeds = matches!(command, C::SeedCatalog { .. });
    match context.actor.role {
        ActorRole::System => {}
        ActorRole::Admin if !seeds => {}
        ActorRole::Admin | ActorRole::User => return Err(CatalogRejection::NotAllowed),
    }
    match command {
        C::AddProvider(new) => add_provider(catalog, new, context),
        C::ChangeProvider { name, patch } => change_provider(catalog, name, patch, context),
        C::AddModel(new) => add_model(catalog, new, context),
        C::ChangeModel { name, patch } => change_model(catalog, name, patch, context),
        C::SetPrice(new) => set_price(catalog, new, context),
        C::SeedCatalog { seed, prune } => seed::reconcile(catalog, seed, *prune, context),
    }
}

fn add_provider(
    catalog: &Catalog,
    new: &NewProvider,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    if catalog.providers.contains_key(&new.name) {
        return Err(CatalogRejection::ProviderExists(new.name.clone()));
    }
    let spec = ProviderSpec::new(&new.name, new.kind).patched(&new.rest);
    check_provider(&spec)?;
    check_reach(&spec)?;
    Keys::of(catalog, &[]).check(&spec)?;
    let (by, at) = (context.actor.user_id.clone(), context.now);
    Ok(vec![CatalogEvent::ProviderAdded { spec, seeded: None, by, at }])
}

fn change_provider(
    catalog: &Catalog,
    name: &str,
    patch: &ProviderPatch,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    let before = catalog.provider(name);
    let before = before.ok_or_else(|| CatalogRejection::ProviderNotFound(name.to_owned()))?;
    let spec = before.patched(patch);
    if spec == *before {
        return Ok(Vec::new());
    }
    check_provider(&spec)?;
    if spec.base_url != before.base_url {
        check_reach(&spec)?;
    }
    if spec.api_key_env != before.api_key_env || spec.base_url != before.base_url {
        Keys::of(catalog, &[]).check(&spec)?;
    }
    let (by, at) = (context.actor.user_id.clone(), context.now);
    Ok(vec![CatalogEvent::ProviderChanged { spec, seeded: None, by, at }])
}

fn add_model(
    catalog: &Catalog,
    new: &NewModel,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    if let Some(there) = catalog.model(&new.name) {
        let (model, provider) = (new.name.clone(), new.provider.clone());
        return Err(CatalogRejection::ModelExists { model, provider, by: there.provider.clone() });
    }
    let last = catalog.models.values().map(|entry| entry.spec.sort).max();
    let next = last.map_or(0, |last| last.saturating_add(SORT_STEP));
    let spec = ModelSpec {
        name: new.name.clone(),
        display_name: new.display_name.clone(),
        provider: new.provider.clone(),
        upstream_name: new.upstream_name.clone(),
        fallbacks: new.fallbacks.clone(),
        context: new.context,
        max_output: new.max_output,
        pool: new.pool.clone().unwrap_or_else(|| DEFAULT_POOL.to_owned()),
        status: new.status,
        default: new.default,
        sort: new.sort.unwrap_or(next),
    };
    check_model(&spec)?;
    check_providers_of(catalog, &spec)?;
    let prices = NewPrice::of_model(&new.name, new.price, &new.prices);
    let (by, at) = (context.actor.user_id.clone(), context.now);
    let mut events = vec![CatalogEvent::ModelAdded { spec, seeded: None, by, at }];
    events.extend(set_prices(catalog, &prices, context)?);
    Ok(events)
}

fn change_model(
    catalog: &Catalog,
    name: &str,
    patch: &ModelPatch,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    let before = catalog.model(name);
    let before = before.ok_or_else(|| CatalogRejection::ModelNotFound(name.to_owned()))?;
    let spec = before.patched(patch);
    let mut events = Vec::new();
    if spec != *before {
        check_model(&spec)?;
        check_providers_of(catalog, &spec)?;
        let (by, at) = (context.actor.user_id.clone(), context.now);
        events.push(CatalogEvent::ModelChanged { spec, seeded: None, by, at });
    }
    let prices = NewPrice::of_model(name, patch.price, &patch.prices);
    events.extend(set_prices(catalog, &prices, context)?);
    Ok(events)
}

fn check_providers_of(catalog: &Catalog, spec: &ModelSpec) -> Result<(), CatalogRejection> {
    let mut named = spec.routes().map(|(provider, _)| provider);
    match named.find(|provider| catalog.provider(provider).is_none()) {
        None => Ok(()),
        Some(missing) => Err(CatalogRejection::ProviderNotFound(missing.to_owned())),
    }
}

fn set_price(
    catalog: &Catalog,
    new: &NewPrice,
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    if catalog.model(&new.model).is_none() {
        return Err(CatalogRejection::ModelNotFound(new.model.clone()));
    }
    set_prices(catalog, std::slice::from_ref(new), context)
}

/// The prices among `new` that are not already so.
fn set_prices(
    catalog: &Catalog,
    new: &[NewPrice],
    context: &CatalogContext,
) -> Result<Vec<CatalogEvent>, CatalogRejection> {
    new.iter().try_for_each(check_price)?;
    let mut any = new.iter().filter(|price| price.service == ANY_SERVICE);
    if let Some(second) = any.nth(1) {
        let problem = "price and prices[\"*\"] say the same; set one of them";
        return Err(invalid_price(second, "price", problem));
    }
    let set = new.iter().filter(|price| !price::holds(&catalog.prices, price, context.now));
    let (by, at) = (&context.actor.user_id, context.now);
    let event = |(index, price): (usize, &NewPrice)| CatalogEvent::PriceSet {
        entry: entry(catalog, price, index, at),
        seeded: false,
        by: by.clone(),
        at,
    };
    Ok(set.enumerate().map(event).collect())
}

/// The entry that `new` becomes, as number `index` of its decision.
pub(super) fn entry(
    catalog: &Catalog,
    new: &NewPrice,
    index: usize,
    now: DateTime<Utc>,
) -> PriceEntry {
    PriceEntry {
        price_id: price::id(&new.model, catalog.prices.of_model(&new.model).len() + index),
        service: new.service.clone(),
        model: new.model.clone(),
        price: new.price(),
        from: new.from.map_or(now, |from| from.trunc_subsecs(6)),
    }
}
