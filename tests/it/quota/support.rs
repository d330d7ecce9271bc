//! What the tests of quota share: a cluster with prices and tiers for those that break nothing,
//! and how an account and its ledger are read.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::Credits;
use serde_json::{Value, json};
use tests::{Answer, Client, Cluster, Transcript, token};
use tokio::sync::OnceCell;

use crate::support::BINARY;

/// Prices and tiers. A thousand tokens cost 1 credit in a prompt and 2 in an answer.
const CONFIG: &str = r#"
[quota]
default_tier = "unlimited"
answer_step = 64
tenant_default_tiers = { house = "roomy" }

[tiers]
roomy = { requests_per_minute = 1000 }

[[prices]]
service = "*"
model = "scripted"
input_per_1k = "1"
output_per_1k = "2"
from = "2020-01-01T00:00:00Z"
"#;

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static TENANTS: AtomicU32 = AtomicU32::new(1);

/// Two API nodes and two workers, before a provider that may be held back.
pub(super) async fn shared() -> &'static Cluster {
    let start = async || {
        Cluster::builder(BINARY)
            .node("a", "api,projector,relay")
            .node("b", "api,projector,relay")
            .node("worker-1", "worker")
            .node("worker-2", "worker")
            .patient()
            .config(CONFIG)
            .start()
            .await
    };
    SHARED.get_or_init(start).await
}

/// A tenant of a test's own, with an admin, on the shared cluster.
pub(super) struct Tenant {
    pub(super) cluster: &'static Cluster,
    pub(super) name: String,
    /// The admin, on node `a`.
    pub(super) olga: Client,
}

impl Tenant {
    pub(super) async fn new() -> Self {
        let name = format!("quota-{}", TENANTS.fetch_add(1, Ordering::Relaxed));
        let cluster = shared().await;
        let olga = admin(cluster, "a", &name);
        Self { cluster, name, olga }
    }

    /// A user on node `a`.
    pub(super) fn user(&self, user: &str) -> Client {
        self.cluster.client("a", &self.name, user)
    }

    /// The same user on node `b`.
    pub(super) fn at_b(&self, client: &Client) -> Client {
        client.at(self.cluster.base("b"))
    }

    /// A user on node `a` whose account has limits of its own.
    pub(super) async fn limited(&self, user: &str, limits: Value) -> Client {
        limit(&self.olga, user, limits).await;
        self.user(user)
    }
}

/// An admin of `tenant`.
pub(super) fn admin(cluster: &Cluster, node: &str, tenant: &str) -> Client {
    Client::new(cluster.base(node), Some(token::with_role(tenant, "olga", "admin")))
}

/// The path of an account for admins.
pub(super) fn account_path(user: &str, rest: &str) -> String {
    format!("/v1/admin/accounts/{user}{rest}")
}

/// Opens the account of `user` and gives it limits of its own.
pub(super) async fn limit(olga: &Client, user: &str, limits: Value) -> Answer {
    olga.post("/v1/admin/accounts", &json!({ "user_id": user })).await.expect(201);
    olga.patch(&account_path(user, "/limits"), &limits).await.expect(200)
}

/// The account of `client`'s user as it stands after `position`.
pub(super) async fn account(client: &Client, position: i64) -> Answer {
    client.get(&format!("/v1/quota?min_position={position}")).await.expect(200)
}

/// One limit of an account that was read.
pub(super) fn limit_of<'a>(account: &'a Value, kind: &str) -> &'a Value {
    let limits = account["limits"].as_array().unwrap();
    limits.iter().find(|limit| limit["kind"] == kind).unwrap()
}

/// Every line of the ledger of `client`'s user, oldest first, page by page.
pub(super) async fn ledger(client: &Client, position: i64) -> Vec<Value> {
    let first = format!("/v1/quota/transactions?order=asc&limit=7&min_position={position}");
    let (mut lines, mut path) = (Vec::new(), first.clone());
    loop {
        let page = client.get(&path).await.expect(200);
        lines.extend_from_slice(page.data());
        let Some(cursor) = page.json["next_cursor"].as_str() else { return lines };
        path = format!("{first}&cursor={cursor}");
    }
}

/// An amount in a body.
pub(super) fn credits(amount: &Value) -> Credits {
    amount.as_str().unwrap_or_else(|| panic!("no amount: {amount}")).parse().unwrap()
}

/// What `usage` costs by the shared cluster's prices.
pub(super) fn cost(usage: &Value) -> Credits {
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    let thousandth = "0.001".parse::<Credits>().unwrap();
    thousandth.times(tokens("prompt_tokens") + 2 * tokens("completion_tokens"))
}

/// At rest nothing is held, and the balance is the sum of the ledger's lines, each of which
/// says the balance up to it. Tells the lines.
pub(super) async fn assert_balanced(client: &Client, position: i64) -> Vec<Value> {
    let account = account(client, position).await;
    for limit in account.json["limits"].as_array().unwrap() {
        assert!([json!(0), json!("0")].contains(&limit["reserved"]), "held: {limit}");
    }
    let lines = ledger(client, position).await;
    let (mut tokens, mut money) = (0, Credits::ZERO);
    for line in &lines {
        tokens += line["tokens"].as_i64().unwrap();
        money = money.plus(credits(&line["credits"]));
        assert_eq!(line["balance"], json!({ "tokens": tokens, "credits": money }), "{line}");
    }
    assert_eq!(account.json["balance"], json!({ "tokens": tokens, "credits": money }));
    lines
}

/// The position of the last event of the turn that `transcript` has seen to its end.
pub(super) fn position(transcript: &Transcript) -> i64 {
    transcript.end().unwrap().json()["position"].as_i64().unwrap()
}

/// The events of a user's account, as the audit has them.
pub(super) async fn audit(olga: &Client, user: &str) -> Vec<Value> {
    let audit = olga.get(&format!("/v1/audit/accounts/{user}")).await.expect(200);
    audit.json["events"].as_array().unwrap().clone()
}

/// The fields of those of `events` that are called `name`.
pub(super) fn called<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = events.iter().filter(|event| event["event_type"] == name);
    named.map(|event| &event["payload"][name]).collect()
}
