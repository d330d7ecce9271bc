use domain::catalog::{CatalogEvent, ProviderKind};
use domain::session::Prompt;
use domain::{ModelSpec, Settings};
use futures::StreamExt as _;

use super::*;
use crate::provider::ErrorClass;

fn providers() -> Providers {
    Providers::new(|name| (name == "LOCAL_KEY").then(|| "sk-1".to_owned()))
}

fn local() -> ProviderSpec {
    ProviderSpec {
        base_url: Some("http://127.0.0.1:9/v1".to_owned()),
        api_key_env: Some("LOCAL_KEY".to_owned()),
        max_retries: 0,
        ..ProviderSpec::new("local", ProviderKind::OpenAi)
    }
}

fn catalog(providers: &[ProviderSpec], models: &[ModelSpec]) -> Catalog {
    let (by, at) = (domain::UserId::system(), chrono::DateTime::UNIX_EPOCH);
    let mut catalog = Catalog::default();
    for spec in providers.iter().cloned() {
        catalog.apply(&CatalogEvent::ProviderAdded { spec, seeded: None, by: by.clone(), at });
    }
    for spec in models.iter().cloned() {
        catalog.apply(&CatalogEvent::ModelAdded { spec, seeded: None, by: by.clone(), at });
    }
    catalog
}

fn request(model: &str) -> CompletionRequest {
    CompletionRequest {
        model: model.to_owned(),
        prompt: Prompt { system: None, messages: Vec::new(), dropped: 0 },
        settings: Settings::default(),
        prefix: None,
    }
}

#[test]
fn what_a_provider_is_by_default_is_what_the_client_is() {
    let spec = ProviderSpec::new("x", ProviderKind::OpenAi);
    assert_eq!(build::timeouts(&spec), crate::provider::openai::Timeouts::default());
    let policy = crate::provider::retry::RetryPolicy::default();
    assert_eq!(spec.max_retries, policy.max_retries);
    assert_eq!(u128::from(spec.word_pace_ms), crate::provider::demo::Demo::PACE.as_millis());
}

#[test]
fn a_client_is_kept_until_its_entry_changes() {
    let providers = providers();
    let first = providers.client(&local()).unwrap();
    assert!(Arc::ptr_eq(&first, &providers.client(&local()).unwrap()));
    let moved = ProviderSpec { base_url: Some("http://127.0.0.1:10".to_owned()), ..local() };
    let second = providers.client(&moved).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &providers.client(&moved).unwrap()));
}

#[tokio::test]
async fn a_key_that_is_not_here_fails_the_turn_and_the_check() {
    let far = ProviderSpec {
        name: "far".to_owned(),
        api_key_env: Some("FAR_API_KEY".to_owned()),
        ..local()
    };
    let catalog = catalog(&[far], &[ModelSpec::new("m", "far", 9, 9)]);
    let error = providers().complete(&catalog, &request("m")).await.err().unwrap();
    assert_eq!(error.code(), "provider_misconfigured");
    assert!(!error.is_retryable());
    assert_eq!(
        error.message,
        "provider \"far\" can't be asked: the environment variable FAR_API_KEY, named by \
         api_key_env, is not set or empty here"
    );
    let checked = providers().check(&catalog).await;
    assert_eq!(checked.len(), 1);
    assert_eq!(checked[0].1.as_ref().map(|problem| &problem.message), Some(&error.message));
}

#[tokio::test]
async fn a_model_finds_its_provider_whether_on_offer_or_not() {
    let demo = ProviderSpec {
        word_pace_ms: 0,
        status: Status::Disabled,
        ..ProviderSpec::new("demo", ProviderKind::Demo)
    };
    let catalog = catalog(&[demo, local()], &[ModelSpec::new("m", "demo", 9, 9)]);
    let answering = providers().complete(&catalog, &request("m")).await.unwrap();
    assert_eq!(answering.provider, "demo");
    assert!(answering.chunks.collect::<Vec<_>>().await.iter().all(Result::is_ok));
    let checked = providers().check(&catalog).await;
    let names: Vec<&str> = checked.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["local"], "nobody needs one that is not on offer");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_found() {
    let error = providers().complete(&Catalog::default(), &request("gone")).await.err().unwrap();
    assert_eq!(error.class, ErrorClass::ModelNotFound);
    assert_eq!(error.message, "the model \"gone\" is not in the catalog");
}
