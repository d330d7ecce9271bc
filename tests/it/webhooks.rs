//! Webhooks: what little is left of a limit is told to another system, signed, until it has
//! taken it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tests::{Cluster, eventually};

use crate::support::{BINARY, SOON};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Tries that the receiver refuses before it takes a delivery.
const REFUSALS: usize = 2;

/// A request as it came.
#[derive(Debug, Clone)]
struct Told {
    path: String,
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

/// Another system: keeps every request, and refuses each delivery at first.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Told>>>);

impl Receiver {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    /// The requests of each delivery, by its id.
    fn deliveries(&self) -> BTreeMap<String, Vec<Told>> {
        let mut deliveries = BTreeMap::<String, Vec<Told>>::new();
        for told in self.told() {
            deliveries.entry(told.id.clone()).or_default().push(told);
        }
        deliveries
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let told = Told {
        path: uri.path().to_owned(),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
    };
    let mut all = receiver.0.lock().unwrap();
    let before = all.iter().filter(|earlier| earlier.id == told.id).count();
    all.push(told);
    if before < REFUSALS { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}

fn signature(told: &Told) -> String {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    hmac.update(format!("{}.{}.{}", told.id, told.timestamp, told.body).as_bytes());
    format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
}

async fn cluster(base: &str) -> Cluster {
    let config = format!(
        "[quota]\ndefault_tier = \"small\"\nanswer_step = 64\n\
         [tiers.small]\ntokens_per_day = 2000\n\
         [[webhooks]]\nurl = \"{base}/acme\"\nsecret = \"{SECRET}\"\ntenant = \"acme\"\n\
         [[webhooks]]\nurl = \"{base}/other\"\nsecret = \"{SECRET}\"\ntenant = \"other\"\n"
    );
    let cluster = Cluster::builder(BINARY)
        .config(&config)
        .node("a", "api,worker,projector,relay")
        .node("b", "relay")
        .start()
        .await;
    let pool = cluster.pool().await;
    eventually("both webhooks have begun", SOON, async || {
        let begun: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_endpoints")
            .fetch_one(&pool)
            .await
            .unwrap();
        begun == 2
    })
    .await;
    cluster
}

#[tokio::test]
async fn each_level_is_told_signed_until_it_is_taken() {
    let receiver = Receiver::default();
    let cluster = cluster(&receiver.start().await).await;
    let ann = cluster.client("a", "acme", "ann");
    let spend = async |tokens: u32| {
        let question = format!("use up [[tokens={tokens}]]");
        let turn = ann.send_message(&ann.create_session().await, &question).await;
        assert_eq!(ann.ended(&turn.id).await.text("/status"), "completed");
        turn.id
    };
    let limit = async |tokens: u32| {
        let set = format!("tokens_per_day={tokens}");
        let account = ["--tenant", "acme", "--user", "ann"];
        cluster
            .cli(&[&["quota", "limits", "--set", set.as_str()], account.as_slice()].concat())
            .await
    };
    // The limit comes near by use, and by being lowered.
    spend(800).await;
    limit(1020).await;
    let turn = spend(40).await;
    limit(900).await;
    limit(800).await;
    let tries = 3 * (REFUSALS + 1);
    eventually("everything is taken", SOON, async || receiver.told().len() >= tries).await;
    // Nothing more comes, from neither process.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let deliveries = receiver.deliveries();
    let mut levels = BTreeMap::new();
    for (id, told) in &deliveries {
        assert_eq!(told.len(), REFUSALS + 1, "{told:?}");
        for one in told {
            assert_eq!(one.signature, signature(one), "every try is signed");
            assert_eq!((&one.body, one.path.as_str()), (&told[0].body, "/acme"));
            assert!(one.timestamp.parse::<i64>().unwrap() > 1_700_000_000);
        }
        let body: Value = serde_json::from_str(&told[0].body).unwrap();
        assert_eq!(body["type"], "quota.threshold");
        assert_eq!((&body["tenant_id"], &body["user_id"]), (&"acme".into(), &"ann".into()));
        assert_eq!(body["limit"], "tokens_per_day");
        assert!(body["window"].is_string() && body["at"].is_string() && body["id"] != id.as_str());
        levels.insert(body["position"].as_i64().unwrap(), body);
    }
    let story: Vec<_> = levels
        .values()
        .map(|body| (body["level"].as_str(), body["turn_id"].as_str(), body["of"].as_i64()))
        .collect();
    assert_eq!(
        story,
        [
            (Some("warning"), Some(turn.as_str()), Some(1020)),
            (Some("critical"), None, Some(900)),
            (Some("exhausted"), None, Some(800)),
        ]
    );
    let rows: Vec<(i32, bool, Option<String>)> = sqlx::query_as(
        "SELECT attempts, delivered_at IS NOT NULL, last_error FROM webhook_deliveries",
    )
    .fetch_all(&cluster.pool().await)
    .await
    .unwrap();
    assert_eq!(rows, vec![(3, true, None); 3]);
}
