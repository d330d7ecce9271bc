//! A price that was wrong: what was charged is corrected afterwards, and everything is then as
//! if it had been right from the start.

use std::path::Path;

use domain::Credits;
use serde_json::{Value, json};
use tests::cluster::try_cli;
use tests::{Client, Cluster, eventually, invariants};

use super::support::{account_path, admin, assert_balanced, credits, ledger, limit_of};
use crate::support::{BINARY, SOON};

const START: &str = "2020-01-01T00:00:00Z";

const CONFIG: &str = r#"
[quota]
default_tier = "paying"

[tiers]
paying = { credit_balance = "50", credits_per_day = "1000" }
"#;

async fn cluster() -> Cluster {
    Cluster::builder(BINARY)
        .node("a", "api,projector,relay,worker")
        .node("b", "api,projector,relay,worker")
        .config(CONFIG)
        .start()
        .await
}

fn price(model: &str, service: &str, input: &str, output: &str) -> Value {
    json!({
        "model": model, "service": service, "input_per_1k": input, "output_per_1k": output,
        "from": START,
    })
}

/// Sets a price and waits until both nodes go by it.
async fn set_price(cluster: &Cluster, price: &Value) {
    let olga = admin(cluster, "a", "acme");
    olga.post("/v1/admin/prices", price).await.expect(201);
    let model = price["model"].as_str().unwrap();
    for node in ["a", "b"] {
        let ann = cluster.client(node, "acme", "ann");
        eventually("the price has come", SOON, async || {
            let shown = ann.get(&format!("/v1/models/{model}")).await.expect(200);
            let prices = shown.json["prices"].as_array().unwrap().clone();
            prices.iter().any(|one| {
                one["service"] == price["service"] && one["input_per_1k"] == price["input_per_1k"]
            })
        })
        .await;
    }
}

/// What two users do, the same each time; tells the position after it.
async fn traffic(cluster: &Cluster) -> i64 {
    let mut position = 0;
    for (node, user) in [("a", "ann"), ("b", "bob")] {
        let client = cluster.client(node, "acme", user);
        let session = client.create_session().await;
        for number in 0..4 {
            let text = format!("priced {number} [[tokens={}]]", 10 + number);
            let turn = client.say(&session, &text).await.turn_id();
            position = client.ended(&turn).await.number("/position");
        }
        let path = format!("/v1/sessions/{session}/messages");
        let body = json!({ "content": "free [[tokens=9]]", "settings": { "model": "other" } });
        let turn = client.post(&path, &body).await.expect(202).text("/turn_id");
        client.ended(&turn).await;
        let usage = json!({ "prompt_tokens": 700, "cached_tokens": 100, "completion_tokens": 30 });
        let body = json!({ "service": "search", "model": "scripted", "usage": usage });
        client.post("/v1/quota/consume", &body).await.expect(200);
        let paid = json!({ "credits": "5", "reason": "paid" });
        let olga = admin(cluster, node, "acme");
        let paid = olga.post(&account_path(user, "/recharge"), &paid).await.expect(200);
        position = position.max(paid.number("/position"));
    }
    position
}

/// All totals that money has a part in, by user.
async fn totals(cluster: &Cluster, position: i64) -> Vec<Value> {
    let mut totals = Vec::new();
    for user in ["ann", "bob"] {
        let client = cluster.client("b", "acme", user);
        let lines = assert_balanced(&client, position).await;
        let shown = client.get("/v1/quota").await.expect(200);
        let used = |kind: &str| limit_of(&shown.json, kind)["used"].clone();
        let get = async |path: &str| client.get(path).await.expect(200).json;
        let statistics = get("/v1/quota/statistics").await;
        let models = get("/v1/usage?group_by=model").await;
        let services = get("/v1/usage?group_by=service").await;
        let of_chat: Credits = lines
            .iter()
            .filter(|line| line["service"] == "chat")
            .map(|line| credits(&line["credits"]))
            .sum();
        totals.push(json!({
            "balance": shown.json["balance"], "day": used("credits_per_day"),
            "month": used("credits_per_month"), "ever": used("credit_balance"),
            "statistics": statistics["totals"], "models": models["data"],
            "services": services["data"], "chat": of_chat,
        }));
    }
    totals
}

async fn reprice(cluster: &Cluster, more: &[&str]) -> String {
    cluster.cli(&[&["quota", "reprice", "--from", "2020-01-01"], more].concat()).await
}

async fn head(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn after_a_correction_all_is_as_if_the_price_had_been_right() {
    let (wrong, right) = tokio::join!(cluster(), cluster());
    // Ten times too dear for any service; the other model was free by mistake.
    set_price(&wrong, &price("scripted", "*", "1.5", "6")).await;
    for cluster in [&right] {
        set_price(cluster, &price("scripted", "*", "0.15", "0.6")).await;
        set_price(cluster, &price("scripted", "search", "0.01", "0.02")).await;
        set_price(cluster, &price("other", "*", "3", "7")).await;
    }
    let (position, expected) = tokio::join!(traffic(&wrong), traffic(&right));
    let expected = totals(&right, expected).await;
    assert_ne!(totals(&wrong, position).await, expected);
    let pool = wrong.pool().await;
    let before = head(&pool).await;
    let nothing = reprice(&wrong, &["--dry-run"]).await;
    assert!(nothing.contains("nothing was changed"), "{nothing}");

    for corrected in [
        price("scripted", "*", "0.15", "0.6"),
        price("scripted", "search", "0.01", "0.02"),
        price("other", "*", "3", "7"),
    ] {
        set_price(&wrong, &corrected).await;
    }
    let before = before + 3;
    let told = reprice(&wrong, &["--dry-run"]).await;
    assert!(told.contains("WRONG") && told.contains("nothing was changed"), "{told}");
    assert_eq!(head(&pool).await, before, "a dry run writes nothing");

    // A part of it first: the rest is still to be done.
    reprice(&wrong, &["--tenant", "acme", "--user", "bob", "--service", "search"]).await;
    assert_eq!(head(&pool).await, before + 1);
    let (one, other) = tokio::join!(try_reprice(&wrong), try_reprice(&wrong));
    // Two at the same time: one of them is told of the other, or comes after it.
    let done = [&one, &other].into_iter().flatten().count();
    assert!(done > 0, "{one:?} {other:?}");
    for refused in [one, other].into_iter().filter_map(Result::err) {
        assert!(refused.contains("another reprice is at work"), "{refused}");
    }
    assert_eq!(head(&pool).await, before + 12, "an adjustment for each of the entries");
    assert_eq!(totals(&wrong, before + 12).await, expected);
    assert_eq!(head(&pool).await, before + 12);

    let again = reprice(&wrong, &[]).await;
    assert!(again.contains("0 corrections"), "{again}");
    assert_eq!(head(&pool).await, before + 12, "nothing is corrected twice");
    let lines = ledger(&wrong.client("a", "acme", "ann"), 0).await;
    for line in lines.iter().filter(|line| line["kind"] == "adjustment") {
        assert_eq!(line["by"], "olga");
        assert_eq!(line["reason"], "a slip of the comma");
        let entry = lines.iter().find(|other| other["entry_id"] == line["reprices"]).unwrap();
        assert_eq!((&entry["kind"], &entry["model"]), (&json!("consumption"), &line["model"]));
    }
    new_turns_pay_the_new_price(&wrong.client("b", "acme", "ann")).await;
    invariants::check(&pool).await;
    invariants::rebuild_changes_nothing(&wrong, &pool).await;
}

/// A run for all that is left, or what it says that keeps it from it.
async fn try_reprice(cluster: &Cluster) -> Result<String, String> {
    let (url, config) = (cluster.database_url().to_owned(), cluster.folder().join("colloquy.toml"));
    let run = move || {
        let config = config.to_str().unwrap().to_owned();
        let arguments = [
            "quota",
            "reprice",
            "--from",
            "2020-01-01",
            "--reason",
            "a slip of the comma",
            "--by",
            "olga",
            "--config",
            &config,
        ];
        try_cli(Path::new(BINARY), &arguments, &[("DATABASE_URL", &url)])
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn new_turns_pay_the_new_price(client: &Client) {
    let session = client.create_session().await;
    let turn = client.say(&session, "priced anew [[tokens=100]]").await.turn_id();
    let shown = client.ended(&turn).await;
    let prompt = shown.json["usage"]["prompt_tokens"].as_u64().unwrap();
    let of =
        |price: &str, count: u64| price.parse::<Credits>().unwrap().per_thousand().times(count);
    assert_eq!(credits(&shown.json["credits"]), of("0.15", prompt).plus(of("0.6", 100)));
}
