//! The events as the log holds them: one file a variant and version, which must decode for
//! ever. As with the session's (`tests/session/golden.rs`), `UPDATE_GOLDEN=1` writes the files
//! that are missing, and no others.

use std::path::PathBuf;

use chrono::{DateTime, TimeZone, Utc};
use domain::catalog::{CatalogEvent, MaxTokensField, ProviderKind, ProviderSpec};
use domain::{ModelSpec, Price, PriceEntry, Status, UserId};
use serde_json::Value;
use uuid::Uuid;

use crate::given::{credits, user};

fn at() -> DateTime<Utc> {
    Utc.timestamp_opt(1_767_323_045, 123_456_000).unwrap()
}

fn provider() -> ProviderSpec {
    ProviderSpec {
        base_url: Some("https://api.example.org/v1".to_owned()),
        api_key_env: Some("EXAMPLE_API_KEY".to_owned()),
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        max_retries: 3,
        connect_timeout_ms: 1000,
        first_token_timeout_ms: 2000,
        inter_token_timeout_ms: 3000,
        total_timeout_ms: 4000,
        word_pace_ms: 5,
        status: Status::Disabled,
        ..ProviderSpec::new("example", ProviderKind::OpenAi)
    }
}

fn model() -> ModelSpec {
    ModelSpec {
        display_name: Some("The large one".to_owned()),
        upstream_name: Some("org/large-1".to_owned()),
        pool: "slow".to_owned(),
        status: Status::Disabled,
        default: true,
        sort: -10,
        ..ModelSpec::new("large", "example", 8192, 1024)
    }
}

fn price() -> PriceEntry {
    PriceEntry {
        price_id: Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001),
        service: "writing".to_owned(),
        model: "large".to_owned(),
        price: Price {
            input_per_1k: credits("0.15"),
            cached_input_per_1k: Some(credits("0.075")),
            output_per_1k: credits("0.6"),
        },
        from: at(),
    }
}

/// Every variant, with every field filled.
fn all() -> Vec<CatalogEvent> {
    let by: UserId = user("ada");
    let earlier = ProviderSpec::new("example", ProviderKind::Demo);
    vec![
        CatalogEvent::ProviderAdded { spec: earlier, seeded: None, by: by.clone(), at: at() },
        CatalogEvent::ProviderChanged {
            spec: provider(),
            seeded: Some(provider()),
            by: by.clone(),
            at: at(),
        },
        CatalogEvent::ModelAdded { spec: model(), seeded: Some(model()), by: by.clone(), at: at() },
        CatalogEvent::ModelChanged { spec: model(), seeded: None, by: by.clone(), at: at() },
        CatalogEvent::PriceSet { entry: price(), seeded: true, by, at: at() },
    ]
}

/// A new variant does not compile until it is counted here, and then fails until [`all`] has it.
fn number_of(event: &CatalogEvent) -> usize {
    use CatalogEvent as E;
    match event {
        E::ProviderAdded { .. } => 0,
        E::ProviderChanged { .. } => 1,
        E::ModelAdded { .. } => 2,
        E::ModelChanged { .. } => 3,
        E::PriceSet { .. } => 4,
    }
}
const VARIANTS: usize = 5;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "catalog"].iter().collect()
}

fn path(event: &CatalogEvent) -> PathBuf {
    folder().join(format!("{}.v1.json", event.name()))
}

fn golden(event: &CatalogEvent) -> Value {
    let path = path(event);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(event).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; UPDATE_GOLDEN=1 writes missing files", path.display())
    });
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_variant_is_here() {
    let numbers: Vec<usize> = all().iter().map(number_of).collect();
    assert_eq!(numbers, (0..VARIANTS).collect::<Vec<_>>());
}

#[test]
fn the_log_is_understood_and_written_alike() {
    for event in all() {
        let read: CatalogEvent = serde_json::from_value(golden(&event)).unwrap();
        assert_eq!(read, event, "{}", path(&event).display());
        assert_eq!(serde_json::to_value(&event).unwrap(), golden(&event));
    }
}

#[test]
fn no_file_is_left_over() {
    let expected: Vec<PathBuf> = all().iter().map(path).collect();
    for file in std::fs::read_dir(folder()).unwrap() {
        let file = file.unwrap().path();
        assert!(expected.contains(&file), "{} belongs to no event", file.display());
    }
}
