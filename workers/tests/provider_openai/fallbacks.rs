//! A model with several providers: who is asked, when the next one is, and what is told where
//! all of them fail.

use std::time::Duration;

use domain::catalog::{Catalog, CatalogEvent, Continuation, ProviderKind, ProviderSpec};
use domain::{Fallback, ModelSpec, Status};
use workers::catalog::Providers;
use workers::provider::{CompletionRequest, ErrorClass, ProviderError};

use super::asking::{PATIENCE, Seen, request, whole};
use super::scripted::{Act, Server, delta, sse};

fn provider(name: &str, server: &Server) -> ProviderSpec {
    ProviderSpec {
        base_url: Some(server.base_url.clone()),
        max_retries: 0,
        first_token_timeout_ms: 20_000,
        ..ProviderSpec::new(name, ProviderKind::OpenAi)
    }
}

/// The same, which is given up after 0.2 s.
fn hasty(name: &str, server: &Server) -> ProviderSpec {
    ProviderSpec { first_token_timeout_ms: 200, ..provider(name, server) }
}

/// The model `m` at the first provider, with the others behind it.
fn catalog(providers: &[ProviderSpec]) -> Catalog {
    let (by, at) = (domain::UserId::system(), chrono::DateTime::UNIX_EPOCH);
    let mut catalog = Catalog::default();
    for spec in providers.iter().cloned() {
        catalog.apply(&CatalogEvent::ProviderAdded { spec, seeded: None, by: by.clone(), at });
    }
    let fallback = |spec: &ProviderSpec| Fallback {
        provider: spec.name.clone(),
        upstream_name: Some(format!("m-at-{}", spec.name)),
    };
    let fallbacks = providers[1..].iter().map(fallback).collect();
    let spec = ModelSpec { fallbacks, ..ModelSpec::new("m", &providers[0].name, 9, 9) };
    catalog.apply(&CatalogEvent::ModelAdded { spec, seeded: None, by, at });
    catalog
}

fn providers() -> Providers {
    Providers::new(|_| None)
}

/// Who answered, and what.
async fn answer(catalog: &Catalog, request: &CompletionRequest) -> (String, Seen) {
    let answering = providers().complete(catalog, request).await.unwrap_or_else(|e| panic!("{e}"));
    (answering.provider, Seen::of(Ok(answering.chunks)).await)
}

async fn failure(catalog: &Catalog) -> ProviderError {
    providers().complete(catalog, &request()).await.err().unwrap()
}

#[tokio::test]
async fn what_fails_before_the_first_word_goes_to_the_next() {
    let nothing = || Act::packets(Vec::new(), Duration::ZERO);
    for act in [
        Act::status(429, ""),
        Act::status(500, ""),
        Act::status(401, ""),
        Act::status(404, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#),
        Act::status(200, "<html>").header("content-type: text/html"),
        Act::Silence,
        nothing(),
        nothing().then_cut(),
        nothing().then_hang(),
        Act::events(sse(&["nonsense"])),
    ] {
        let first = Server::start(vec![act]).await;
        let second = Server::start(vec![Act::events(whole("Hello"))]).await;
        let catalog = catalog(&[hasty("a", &first), provider("b", &second)]);
        let (name, seen) = answer(&catalog, &request()).await;
        assert_eq!((name.as_str(), seen.text.as_str()), ("b", "Hello"));
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
        assert!(first.requests()[0].contains(r#""model":"m","#));
        assert!(second.requests()[0].contains(r#""model":"m-at-b","#));
    }
}

#[tokio::test]
async fn nobody_there_goes_to_the_next() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = Some(format!("http://{}/v1", listener.local_addr().unwrap()));
    drop(listener);
    let server =
        Server::start(vec![Act::events(whole("Hello")), Act::events(whole("again"))]).await;
    let gone = ProviderSpec { base_url, ..provider("gone", &server) };
    let keyless = Some("COLLOQUY_NOT_SET_API_KEY".to_owned());
    let keyless = ProviderSpec { api_key_env: keyless, ..provider("keyless", &server) };
    for first in [gone, keyless] {
        let (name, _) = answer(&catalog(&[first, provider("b", &server)]), &request()).await;
        assert_eq!(name, "b");
    }
}

#[tokio::test]
async fn what_fails_later_does_not() {
    let cut = Act::packets(vec![sse(&[&delta("a")]).into_bytes()], Duration::ZERO).then_cut();
    let (first, second) = (Server::start(vec![cut]).await, Server::start(Vec::new()).await);
    let catalog = catalog(&[provider("a", &first), provider("b", &second)]);
    let (name, seen) = answer(&catalog, &request()).await;
    assert_eq!((name.as_str(), seen.text.as_str()), ("a", "a"));
    assert_eq!(seen.class(), Some(ErrorClass::Network));
    assert_eq!(second.requests().len(), 0);
}

#[tokio::test]
async fn a_request_at_fault_is_not_passed_on() {
    let too_long = r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#;
    for (body, class) in [("no", ErrorClass::InvalidRequest), (too_long, ErrorClass::ContextLength)]
    {
        let first = Server::start(vec![Act::status(400, body)]).await;
        let second = Server::start(Vec::new()).await;
        let error = failure(&catalog(&[provider("a", &first), provider("b", &second)])).await;
        assert_eq!((error.class, second.requests().len()), (class, 0));
        assert!(!error.message.contains("asked were"), "{error}");
    }
    // What a fallback does not take, the next one may.
    let first = Server::start(vec![Act::status(500, "")]).await;
    let second = Server::start(vec![Act::status(400, "no tools here")]).await;
    let third = Server::start(vec![Act::events(whole("Hello"))]).await;
    let all = [provider("a", &first), provider("b", &second), provider("c", &third)];
    assert_eq!(answer(&catalog(&all), &request()).await.0, "c");
}

#[tokio::test]
async fn where_all_fail_the_first_that_may_pass_is_told() {
    let first = Server::start(vec![Act::status(401, ""), Act::status(401, "")]).await;
    let busy = Act::status(429, "slow down").header("retry-after: 7");
    let second = Server::start(vec![busy, Act::status(403, "")]).await;
    let third = Server::start(vec![Act::status(500, ""), Act::status(400, "")]).await;
    let all = [provider("a", &first), provider("b", &second), provider("c", &third)];
    let error = failure(&catalog(&all)).await;
    assert_eq!(error.code(), "provider_rate_limited");
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(
        error.message,
        "b answered 429 Too Many Requests: slow down (asked were: a provider_unauthorized, \
         b provider_rate_limited, c provider_unavailable)"
    );
    assert_eq!(failure(&catalog(&all)).await.code(), "provider_unauthorized");
}

#[tokio::test]
async fn a_fallback_that_is_disabled_is_skipped() {
    let first = Server::start(vec![Act::status(500, "")]).await;
    let second = Server::start(Vec::new()).await;
    let off = ProviderSpec { status: Status::Disabled, ..provider("b", &second) };
    let error = failure(&catalog(&[provider("a", &first), off])).await;
    assert_eq!((error.code(), second.requests().len()), ("provider_unavailable", 0));
    assert!(!error.message.contains("asked were"), "{error}");
}

#[tokio::test]
async fn who_is_given_up_is_hung_up_on() {
    let (first, second) =
        (Server::start(vec![Act::Silence]).await, Server::start(vec![Act::Silence]).await);
    let catalog = catalog(&[hasty("a", &first), provider("b", &second)]);
    // The first one is too late; while the second one is awaited, the answer is cancelled.
    let request = request();
    let providers = providers();
    let mut asked = Box::pin(providers.complete(&catalog, &request));
    let second_is_asked = async {
        first.broken_off().await;
        while second.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut asked => panic!("nobody answers"),
        () = second_is_asked => {}
        () = tokio::time::sleep(PATIENCE) => panic!("the second one is not asked"),
    }
    drop(asked);
    tokio::time::timeout(PATIENCE, second.broken_off()).await.unwrap();
}

#[tokio::test]
async fn who_fails_again_and_again_is_asked_last() {
    let fail = || Act::status(503, "");
    let first = Server::start(vec![fail(), fail(), fail(), Act::events(whole("well"))]).await;
    let fine = (0..4).map(|_| Act::events(whole("Hello"))).chain([fail()]);
    let second = Server::start(fine.collect()).await;
    let catalog = catalog(&[provider("a", &first), provider("b", &second)]);
    let providers = providers();
    for asked in [1, 2, 3, 3] {
        assert_eq!(providers.complete(&catalog, &request()).await.unwrap().provider, "b");
        assert_eq!(first.requests().len(), asked);
    }
    // Where the other one fails, it is asked all the same.
    assert_eq!(providers.complete(&catalog, &request()).await.unwrap().provider, "a");
    assert_eq!((first.requests().len(), second.requests().len()), (4, 5));
}

#[tokio::test]
async fn only_who_can_go_on_is_asked_to() {
    let first = Server::start(vec![Act::status(500, ""), Act::status(500, "")]).await;
    let second = Server::start(Vec::new()).await;
    let third = Server::start(vec![Act::events(whole(" two"))]).await;
    let can = |spec| ProviderSpec { continuation: Continuation::LastMessage, ..spec };
    let all = [can(provider("a", &first)), provider("b", &second), can(provider("c", &third))];
    let catalog_of = catalog;
    let catalog = catalog_of(&all);
    let begun = CompletionRequest { prefix: Some("One".to_owned()), ..request() };
    let (name, seen) = answer(&catalog, &begun).await;
    assert_eq!((name.as_str(), seen.text.as_str()), ("c", " two"));
    assert_eq!(second.requests().len(), 0);
    assert!(Providers::can_continue(&catalog, "m"));
    assert!(!Providers::can_continue(&catalog, "gone"));
    let cannot = catalog_of(&[provider("b", &second)]);
    assert!(!Providers::can_continue(&cannot, "m"));
    let error = providers().complete(&cannot, &begun).await.err().unwrap();
    assert_eq!(error.code(), "provider_misconfigured");
    assert_eq!(error.message, "no provider of the model \"m\" can go on with an answer");
}
