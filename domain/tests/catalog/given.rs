//! The words that the rules' tests are written in.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use cqrs_es::test::{AggregateResultValidator, TestFramework};
use domain::catalog::{
    Catalog, CatalogCommand, CatalogContext, CatalogEvent, NewModel, NewPrice, NewProvider,
    ProviderKind, ProviderPatch, ProviderSpec, Seed, decide,
};
use domain::{Actor, ActorRole, Credits, ModelSpec, Price, Status, TenantId, UserId};

pub(crate) type Then = AggregateResultValidator<Catalog>;

pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::from_str(name).unwrap()
}

pub(crate) fn by(role: ActorRole) -> CatalogContext {
    let tenant_id = TenantId::from_str("acme").unwrap();
    CatalogContext { now: now(), actor: Actor { tenant_id, user_id: user("ada"), role } }
}

pub(crate) fn system() -> CatalogContext {
    CatalogContext { now: now(), actor: Actor::system(TenantId::deployment()) }
}

/// `command` by an admin.
pub(crate) fn when(given: &[CatalogEvent], command: CatalogCommand) -> Then {
    when_by(ActorRole::Admin, given, command)
}

pub(crate) fn when_by(role: ActorRole, given: &[CatalogEvent], command: CatalogCommand) -> Then {
    TestFramework::<Catalog>::with(by(role)).given(given.to_vec()).when(command)
}

pub(crate) fn folded(events: &[CatalogEvent]) -> Catalog {
    let mut catalog = Catalog::default();
    for event in events {
        catalog.apply(event);
    }
    catalog
}

/// Takes `seed` in, as a start does.
pub(crate) fn seeded(catalog: &mut Catalog, seed: &Seed, prune: bool) -> Vec<CatalogEvent> {
    let command = CatalogCommand::SeedCatalog { seed: seed.clone(), prune };
    carried_out(catalog, &command, &system())
}

pub(crate) fn carried_out(
    catalog: &mut Catalog,
    command: &CatalogCommand,
    context: &CatalogContext,
) -> Vec<CatalogEvent> {
    let events = decide(catalog, command, context).unwrap();
    for event in &events {
        catalog.apply(event);
    }
    events
}

pub(crate) fn local() -> ProviderSpec {
    ProviderSpec {
        base_url: Some("http://127.0.0.1:8090/v1".to_owned()),
        ..ProviderSpec::new("local", ProviderKind::OpenAi)
    }
}

pub(crate) fn small() -> ModelSpec {
    ModelSpec::new("small", "local", 8000, 1000)
}

pub(crate) fn large() -> ModelSpec {
    ModelSpec { sort: 10, ..ModelSpec::new("large", "local", 100_000, 8000) }
}

pub(crate) fn disabled(spec: ModelSpec) -> ModelSpec {
    ModelSpec { status: Status::Disabled, ..spec }
}

/// A provider and a model, both added by an admin.
pub(crate) fn added() -> Vec<CatalogEvent> {
    vec![provider_added(local()), model_added(small())]
}

pub(crate) fn provider_added(spec: ProviderSpec) -> CatalogEvent {
    CatalogEvent::ProviderAdded { spec, seeded: None, by: user("ada"), at: now() }
}

pub(crate) fn provider_changed(spec: ProviderSpec) -> CatalogEvent {
    CatalogEvent::ProviderChanged { spec, seeded: None, by: user("ada"), at: now() }
}

pub(crate) fn model_added(spec: ModelSpec) -> CatalogEvent {
    CatalogEvent::ModelAdded { spec, seeded: None, by: user("ada"), at: now() }
}

pub(crate) fn model_changed(spec: ModelSpec) -> CatalogEvent {
    CatalogEvent::ModelChanged { spec, seeded: None, by: user("ada"), at: now() }
}

pub(crate) fn new_provider(spec: &ProviderSpec) -> NewProvider {
    let rest = ProviderPatch {
        base_url: Some(spec.base_url.clone()),
        api_key_env: Some(spec.api_key_env.clone()),
        continuation: Some(spec.continuation),
        max_retries: Some(spec.max_retries),
        first_token_timeout_ms: Some(spec.first_token_timeout_ms),
        ..ProviderPatch::default()
    };
    NewProvider { name: spec.name.clone(), kind: spec.kind, rest }
}

pub(crate) fn new_model(spec: &ModelSpec) -> NewModel {
    NewModel {
        name: spec.name.clone(),
        display_name: spec.display_name.clone(),
        provider: spec.provider.clone(),
        upstream_name: spec.upstream_name.clone(),
        fallbacks: spec.fallbacks.clone(),
        context: spec.context,
        max_output: spec.max_output,
        pool: Some(spec.pool.clone()),
        status: spec.status,
        default: spec.default,
        sort: Some(spec.sort),
        price: None,
        prices: BTreeMap::new(),
    }
}

pub(crate) fn change_model(name: &str, json: &str) -> CatalogCommand {
    let patch = serde_json::from_str(json).unwrap();
    CatalogCommand::ChangeModel { name: name.to_owned(), patch }
}

pub(crate) fn change_provider(name: &str, json: &str) -> CatalogCommand {
    let patch = serde_json::from_str(json).unwrap();
    CatalogCommand::ChangeProvider { name: name.to_owned(), patch }
}

pub(crate) fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

pub(crate) fn price(input: &str, output: &str) -> Price {
    let (input_per_1k, output_per_1k) = (credits(input), credits(output));
    Price { input_per_1k, cached_input_per_1k: None, output_per_1k }
}

pub(crate) fn new_price(service: &str, input: &str) -> NewPrice {
    NewPrice::new(service, "small", price(input, "1"))
}
