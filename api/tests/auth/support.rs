//! A clock that stands still, an identity provider that signs tokens and one that serves keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::auth::{ApiKeys, AuthConfig, AuthError, Authenticator, Identity, JwksConfig, JwtConfig};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use chrono::{DateTime, TimeZone, Utc};
use domain::{Actor, Clock};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

pub(crate) const NOW: i64 = 1_800_000_000;

/// Always [`NOW`].
pub(crate) struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        Utc.timestamp_opt(NOW, 0).unwrap()
    }
}

/// Keys in a database that is not there.
pub(crate) fn no_keys() -> ApiKeys {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(200));
    ApiKeys::new(pool.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap())
}

pub(crate) fn authenticator(jwt: JwtConfig) -> Authenticator {
    Authenticator::new(AuthConfig { jwt: Some(jwt) }, no_keys(), Arc::new(Stopped)).unwrap()
}

/// The actor that a bearer token speaks for; an error as its code and text.
pub(crate) async fn outcome(authenticator: &Authenticator, token: &str) -> Result<Actor, String> {
    identity(authenticator, token).await.map(|identity| identity.actor)
}

/// All that a bearer token says.
pub(crate) async fn identity(
    authenticator: &Authenticator,
    token: &str,
) -> Result<Identity, String> {
    authenticator
        .authenticate(Some(&format!("Bearer {token}")))
        .await
        .inspect_err(|error| assert_says_nothing_of(token, error))
        .map_err(|error: AuthError| format!("{}: {error}", error.code()))
}

fn assert_says_nothing_of(token: &str, error: &AuthError) {
    let told = format!("{error:?} {error}");
    for part in token.split('.').filter(|part| part.len() > 12) {
        assert!(!told.contains(part), "{told}");
    }
}

pub(crate) fn claims() -> Value {
    json!({"sub": "ada", "tenant_id": "acme", "exp": NOW + 60})
}

/// One of an identity provider's keys.
#[derive(Clone)]
pub(crate) struct Signer {
    kid: Option<&'static str>,
    alg: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn rsa_one(kid: impl Into<Option<&'static str>>) -> Self {
        Self::rsa(kid.into(), include_bytes!("keys/rsa_one.der"))
    }

    pub(crate) fn rsa_two(kid: impl Into<Option<&'static str>>) -> Self {
        Self::rsa(kid.into(), include_bytes!("keys/rsa_two.der"))
    }

    pub(crate) fn rsa_weak(kid: impl Into<Option<&'static str>>) -> Self {
        Self::rsa(kid.into(), include_bytes!("keys/rsa_weak.der"))
    }

    pub(crate) fn ec(kid: impl Into<Option<&'static str>>) -> Self {
        let key = EncodingKey::from_ec_der(include_bytes!("keys/ec.der"));
        Self { kid: kid.into(), alg: Algorithm::ES256, key }
    }

    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self { kid: None, alg: Algorithm::HS256, key: EncodingKey::from_secret(secret) }
    }

    fn rsa(kid: Option<&'static str>, key: &[u8]) -> Self {
        Self { kid, alg: Algorithm::RS256, key: EncodingKey::from_rsa_der(key) }
    }

    pub(crate) fn with(self, alg: Algorithm) -> Self {
        Self { alg, ..self }
    }

    pub(crate) fn named(self, kid: &'static str) -> Self {
        Self { kid: Some(kid), ..self }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.kid.map(str::to_owned), ..Header::new(self.alg) };
        encode(&header, claims, &self.key).unwrap()
    }

    /// The public half, as a key set lists it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.alg).unwrap();
        jwk.common.key_id = self.kid.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }
}

/// An identity provider's server.
pub(crate) struct Provider {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<(StatusCode, String)>,
    delay: Mutex<Duration>,
    fetches: AtomicUsize,
}

impl Provider {
    pub(crate) async fn start(keys: &[&Signer]) -> Self {
        let shared = Arc::new(Shared {
            answer: Mutex::new((StatusCode::OK, String::new())),
            delay: Mutex::new(Duration::ZERO),
            fetches: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(serve)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let provider = Self { url, shared };
        provider.serve(keys);
        provider
    }

    pub(crate) fn serve(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.answer(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    pub(crate) fn answer(&self, status: StatusCode, body: String) {
        *self.shared.answer.lock().unwrap() = (status, body);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn config(&self) -> JwksConfig {
        JwksConfig { timeout: Duration::from_secs(2), ..JwksConfig::new(&self.url) }
    }

    pub(crate) fn authenticator(&self) -> Authenticator {
        authenticator(JwtConfig { jwks: Some(self.config()), ..JwtConfig::default() })
    }
}

async fn serve(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let delay = *shared.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    shared.answer.lock().unwrap().clone()
}
