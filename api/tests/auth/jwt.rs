//! Tokens: forged, borrowed, worn out.

use api::auth::{
    AuthConfig, AuthConfigError, AuthError, Authenticator, JwksConfig, JwtConfig, SharedSecret,
};
use domain::ActorRole;
use jsonwebtoken::Algorithm;
use serde_json::json;
use std::sync::Arc;

use crate::support::{NOW, Provider, Signer, Stopped, authenticator, claims, no_keys, outcome};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

fn by_secret() -> JwtConfig {
    JwtConfig { secret: Some(SharedSecret::new(SECRET).unwrap()), ..JwtConfig::default() }
}

#[tokio::test]
async fn a_good_token_names_its_actor() {
    let authenticator = authenticator(by_secret());
    let mut claims = claims();
    claims["role"] = json!("admin");
    let actor = outcome(&authenticator, &Signer::secret(SECRET).sign(&claims)).await.unwrap();
    assert_eq!(actor.tenant_id.as_str(), "acme");
    assert_eq!(actor.user_id.as_str(), "ada");
    assert_eq!(actor.role, ActorRole::Admin);
}

#[tokio::test]
async fn a_forged_signature_is_refused() {
    let authenticator = authenticator(by_secret());
    let token = Signer::secret(b"another secret of thirty-two bytes!!").sign(&claims());
    assert!(outcome(&authenticator, &token).await.unwrap_err().contains("signature"));

    // Another token's signature under these claims.
    let good = Signer::secret(SECRET).sign(&claims());
    let mut admin = claims();
    admin["role"] = json!("admin");
    let other = Signer::secret(SECRET).sign(&admin);
    let (body, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let error = outcome(&authenticator, &format!("{body}.{signature}")).await.unwrap_err();
    assert!(error.contains("signature"), "{error}");

    let (body, _) = good.rsplit_once('.').unwrap();
    let error = outcome(&authenticator, &format!("{body}.")).await.unwrap_err();
    assert!(error.contains("signature"), "{error}");
}

/// `{"alg":"none"}`, in every spelling that has fooled somebody.
#[tokio::test]
async fn unsigned_tokens_are_refused() {
    let provider = Provider::start(&[&Signer::rsa_one("a")]).await;
    let both = JwtConfig { jwks: Some(provider.config()), ..by_secret() };
    let authenticator = authenticator(both);
    let good = Signer::secret(SECRET).sign(&claims());
    let claims = good.split('.').nth(1).unwrap();
    for header in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", // none
        "eyJhbGciOiJOb25lIn0",                 // None
        "eyJhbGciOiJOT05FIn0",                 // NONE
        "eyJhbGciOiIifQ",                      // the empty string
        "eyJ0eXAiOiJKV1QifQ",                  // no alg at all
    ] {
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}")] {
            let error = outcome(&authenticator, &token).await.unwrap_err();
            assert!(error.starts_with("invalid_token"), "{header}: {error}");
        }
    }
    assert_eq!(provider.fetches(), 0);
}

/// The classic confusion: the provider's public key, which anybody can get, used as the secret
/// of an HMAC.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let rsa = Signer::rsa_one("a");
    let provider = Provider::start(&[&rsa]).await;
    let only_keys = provider.authenticator();
    let both = authenticator(JwtConfig { jwks: Some(provider.config()), ..by_secret() });
    assert!(outcome(&only_keys, &rsa.sign(&claims())).await.is_ok());
    let public = rsa.public();
    for secret in [public["n"].as_str().unwrap().to_owned(), public.to_string()] {
        let token = Signer::secret(secret.as_bytes()).named("a").sign(&claims());
        let error = outcome(&only_keys, &token).await.unwrap_err();
        assert!(error.contains("algorithm is not accepted"), "{error}");
        let error = outcome(&both, &token).await.unwrap_err();
        assert!(error.contains("signature"), "{error}");
    }
}

#[tokio::test]
async fn an_algorithm_must_be_that_of_its_key() {
    let (rsa, ec) = (Signer::rsa_one("rsa"), Signer::ec("ec"));
    let provider = Provider::start(&[&rsa, &ec]).await;
    let only_keys = provider.authenticator();
    assert!(outcome(&only_keys, &rsa.sign(&claims())).await.is_ok());
    assert!(outcome(&only_keys, &ec.sign(&claims())).await.is_ok());
    for wrong in [
        rsa.clone().with(Algorithm::RS384).sign(&claims()),
        rsa.clone().with(Algorithm::PS256).sign(&claims()),
        rsa.clone().named("ec").sign(&claims()),
        ec.named("rsa").sign(&claims()),
    ] {
        let error = outcome(&only_keys, &wrong).await.unwrap_err();
        assert!(error.starts_with("invalid_token") && error.contains("algorithm"), "{error}");
    }
    let only_secret = authenticator(by_secret());
    for wrong in [
        rsa.sign(&claims()),
        Signer::secret(SECRET).with(Algorithm::HS384).sign(&claims()),
        Signer::secret(SECRET).with(Algorithm::HS512).sign(&claims()),
    ] {
        let error = outcome(&only_secret, &wrong).await.unwrap_err();
        assert!(error.contains("algorithm is not accepted"), "{error}");
    }
}

#[tokio::test]
async fn claims_are_checked_after_the_signature() {
    let config = JwtConfig {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("colloquy".to_owned()),
        ..by_secret()
    };
    let authenticator = authenticator(config);
    let good = json!({
        "sub": "ada", "tenant_id": "acme", "exp": NOW + 60, "iss": "https://id.example",
        "aud": ["colloquy"],
    });
    let signer = Signer::secret(SECRET);
    assert!(outcome(&authenticator, &signer.sign(&good)).await.is_ok());
    for (claim, value, expected) in [
        ("exp", json!(NOW - 3600), "expired_token"),
        ("nbf", json!(NOW + 3600), "not valid yet"),
        ("iss", json!("https://evil.example"), "`iss`"),
        ("aud", json!("other"), "`aud`"),
        ("tenant_id", json!("a.b"), "`tenant_id`"),
        ("sub", json!(null), "`sub`"),
        ("role", json!(["admin"]), "`role`"),
    ] {
        let mut bad = good.clone();
        bad[claim] = value;
        let error = outcome(&authenticator, &signer.sign(&bad)).await.unwrap_err();
        assert!(error.contains(expected), "{claim}: {error}");
        // A stranger learns nothing about claims.
        let forged = Signer::secret(b"another secret of thirty-two bytes!!").sign(&bad);
        let error = outcome(&authenticator, &forged).await.unwrap_err();
        assert!(error.contains("signature"), "{claim}: {error}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let authenticator = authenticator(by_secret());
    for bad in ["a", "a.b", "a.b.c", "....", "é.é.é", &"x".repeat(9000)] {
        let error = outcome(&authenticator, bad).await.unwrap_err();
        assert!(error.starts_with("invalid_token"), "{error}");
    }
    let none = authenticator.authenticate(None).await;
    assert!(matches!(none, Err(AuthError::MissingToken)));
    let keys_only = Authenticator::new(AuthConfig::default(), no_keys(), Arc::new(Stopped));
    let token = Signer::secret(SECRET).sign(&claims());
    let error = outcome(&keys_only.unwrap(), &token).await.unwrap_err();
    assert!(error.contains("not an API key"), "{error}");
}

#[tokio::test]
async fn a_configuration_must_make_sense() {
    let new = |jwt| {
        Authenticator::new(AuthConfig { jwt: Some(jwt) }, no_keys(), Arc::new(Stopped)).map(drop)
    };
    assert!(matches!(new(JwtConfig::default()), Err(AuthConfigError::NoKeys)));
    for url in ["", "keys", "file:///etc/passwd"] {
        let jwks = Some(JwksConfig::new(url));
        let outcome = new(JwtConfig { jwks, ..JwtConfig::default() });
        assert!(matches!(outcome, Err(AuthConfigError::InvalidUrl)), "{url:?}");
    }
}
