//! The identity provider's keys: changed, gone, slow, odd.

use std::time::Duration;

use api::auth::{JwksConfig, JwtConfig};
use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Provider, Signer, authenticator, claims, outcome};

#[tokio::test]
async fn keys_are_fetched_once() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    provider.delay(Duration::from_millis(50));
    let authenticator = provider.authenticator();
    let token = rsa.sign(&claims());
    let many = (0..20).map(|_| outcome(&authenticator, &token));
    for actor in futures::future::join_all(many).await {
        assert!(actor.is_ok(), "{actor:?}");
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_the_old_one_forgotten() {
    let (old, new) = (Signer::rsa_one("old"), Signer::rsa_two("new"));
    let provider = Provider::start(&[&old]).await;
    let jwks = JwksConfig { min_interval: Duration::ZERO, ..provider.config() };
    let authenticator = authenticator(JwtConfig { jwks: Some(jwks), ..JwtConfig::default() });
    assert!(outcome(&authenticator, &old.sign(&claims())).await.is_ok());
    provider.serve(&[&new]);
    assert!(outcome(&authenticator, &new.sign(&claims())).await.is_ok());
    let error = outcome(&authenticator, &old.sign(&claims())).await.unwrap_err();
    assert_eq!(error, "invalid_token: the token is not valid: it was signed by an unknown key");
}

#[tokio::test]
async fn forged_key_ids_do_not_flood_the_provider() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    let authenticator = provider.authenticator();
    for _ in 0..10 {
        let error = outcome(&authenticator, &rsa.clone().named("b").sign(&claims())).await;
        assert!(error.unwrap_err().contains("unknown key"));
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn known_keys_outlive_an_outage() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    let jwks =
        JwksConfig { min_interval: Duration::ZERO, fresh_for: Duration::ZERO, ..provider.config() };
    let authenticator = authenticator(JwtConfig { jwks: Some(jwks), ..JwtConfig::default() });
    assert!(outcome(&authenticator, &rsa.sign(&claims())).await.is_ok());
    provider.answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
    let token = rsa.sign(&claims());
    let fetched_again = async {
        while provider.fetches() < 3 {
            assert!(outcome(&authenticator, &token).await.is_ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), fetched_again)
        .await
        .expect("old keys are asked for");
    // Whether an unknown key exists, nobody can say now.
    let error = outcome(&authenticator, &rsa.named("b").sign(&claims())).await.unwrap_err();
    assert!(error.starts_with("auth_unavailable"), "{error}");
}

#[tokio::test]
async fn without_keys_nothing_can_be_told() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    for (status, body) in [
        (StatusCode::NOT_FOUND, json!({"keys": []}).to_string()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, json!({"keys": [], "padding": "x".repeat(300_000)}).to_string()),
    ] {
        provider.answer(status, body);
        let error = outcome(&provider.authenticator(), &rsa.sign(&claims())).await.unwrap_err();
        assert!(error.starts_with("auth_unavailable"), "{error}");
    }
}

#[tokio::test]
async fn a_hanging_provider_is_given_up() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    provider.delay(Duration::from_secs(60));
    let jwks = JwksConfig { timeout: Duration::from_millis(100), ..provider.config() };
    let authenticator = authenticator(JwtConfig { jwks: Some(jwks), ..JwtConfig::default() });
    let token = rsa.sign(&claims());
    let waited = tokio::time::timeout(Duration::from_secs(10), outcome(&authenticator, &token));
    assert!(waited.await.unwrap().unwrap_err().starts_with("auth_unavailable"));
}

/// A caller that goes away takes nobody's fetch with it.
#[tokio::test]
async fn an_impatient_caller_does_not_break_off_the_fetch() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    provider.delay(Duration::from_millis(200));
    let authenticator = provider.authenticator();
    let token = rsa.sign(&claims());
    let impatient =
        tokio::time::timeout(Duration::from_millis(50), outcome(&authenticator, &token));
    assert!(impatient.await.is_err());
    assert!(outcome(&authenticator, &token).await.is_ok());
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn without_a_key_id_the_only_key_is_meant() {
    let (one, two, ec) = (Signer::rsa_one(None), Signer::rsa_two("b"), Signer::ec("ec"));
    let provider = Provider::start(&[&one, &ec]).await;
    let alone = provider.authenticator();
    assert!(outcome(&alone, &one.sign(&claims())).await.is_ok());
    assert!(outcome(&alone, &Signer::ec(None).sign(&claims())).await.is_ok());
    provider.serve(&[&one, &two]);
    let several = provider.authenticator();
    let error = outcome(&several, &one.sign(&claims())).await.unwrap_err();
    assert!(error.contains("`kid`"), "{error}");
}

#[tokio::test]
async fn odd_keys_are_passed_over() {
    let (good, weak) = (Signer::rsa_one("good"), Signer::rsa_weak("weak"));
    let provider = Provider::start(&[]).await;
    let mut encrypting = Signer::rsa_two("enc").public();
    encrypting["use"] = json!("enc");
    let mut other_hash = Signer::rsa_two("rs512").public();
    other_hash["alg"] = json!("RS512");
    let keys = json!({"keys": [
        {"kty": "from the future", "kid": "x"},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        encrypting, other_hash, weak.public(), good.public(), 7,
    ]});
    provider.answer(StatusCode::OK, keys.to_string());
    let authenticator = provider.authenticator();
    assert!(outcome(&authenticator, &good.sign(&claims())).await.is_ok());
    for passed_over in [weak, Signer::rsa_two("enc"), Signer::rsa_two("rs512")] {
        let error = outcome(&authenticator, &passed_over.sign(&claims())).await.unwrap_err();
        assert!(error.contains("unknown key"), "{error}");
    }
}
