//! Models, providers and prices as data: changed by admins on one node and in force on all,
//! seeded from the configuration without undoing what admins did.

mod refusals;

use reqwest::Method;
use serde_json::{Value, json};
use tests::provider::Provider;
use tests::{Answer, Client, Cluster, eventually, token};

use crate::support::{BINARY, SOON};

const PRICES: &str = "/v1/admin/prices";
const MODELS: &str = "/v1/admin/models";
const PROVIDERS: &str = "/v1/admin/providers";

/// Two nodes that do everything, for tests that change what all share.
async fn cluster(config: &str) -> Cluster {
    Cluster::builder(BINARY)
        .node("a", "api,projector,relay,worker")
        .node("b", "api,projector,relay,worker")
        .config(config)
        .start()
        .await
}

fn admin(cluster: &Cluster, node: &str) -> Client {
    Client::new(cluster.base(node), Some(token::with_role("ops", "olga", "admin")))
}

fn user(cluster: &Cluster, node: &str) -> Client {
    cluster.client(node, "acme", "ann")
}

fn model(name: &str) -> Value {
    json!({ "name": name, "provider": "scripted", "context": 4096, "max_output": 512 })
}

/// The names of the models that callers may use.
async fn offered(client: &Client) -> Vec<String> {
    let list = client.get("/v1/models").await.expect(200);
    list.data().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// The answer of `model` to `text` by `/v1/chat/completions`.
async fn ask(client: &Client, model: &str, text: &str) -> Answer {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": text }] });
    client.post("/v1/chat/completions", &body).await
}

/// Until the change has come to `client`'s node, which is to be within a second or so.
async fn until_offered(client: &Client, name: &str, is: bool) {
    eventually("the change has come", SOON, async || {
        offered(client).await.iter().any(|model| model == name) == is
    })
    .await;
}

async fn restart(cluster: &mut Cluster, node: &str) {
    let node = cluster.node(node);
    node.terminate();
    node.ended(SOON).await;
    node.start();
    node.ready().await;
}

#[tokio::test]
async fn a_model_is_added_on_one_node_and_used_on_another() {
    let cluster = cluster("").await;
    let (olga, ann) = (admin(&cluster, "a"), user(&cluster, "b"));
    let fresh = json!({ "display_name": "Fresh", "pool": "own", "upstream_name": "scripted" });
    let mut body = model("fresh");
    body.as_object_mut().unwrap().extend(fresh.as_object().unwrap().clone());
    let added = olga.post(MODELS, &body).await.expect(201);
    assert!(added.header("x-colloquy-position").is_some());
    assert_eq!(added.json["available"], true);
    assert_eq!(added.number("/sort"), 30, "after those of the configuration");
    until_offered(&ann, "fresh", true).await;
    let shown = ann.get("/v1/models/fresh").await.expect(200);
    assert_eq!(shown.text("/display_name"), "Fresh");
    assert_eq!(shown.json["default"], false);
    let answer = ask(&ann, "fresh", "hello [[tokens=3]]").await.expect(200);
    assert_eq!(answer.text("/model"), "fresh");
    assert_eq!(cluster.provider.calls("hello [[tokens=3]]").len(), 1);

    // It becomes the default, and is switched off again.
    olga.patch(&format!("{MODELS}/fresh"), &json!({ "default": true })).await.expect(200);
    let listed = olga.get(MODELS).await.expect(200);
    let defaults: Vec<_> = listed.data().iter().filter(|one| one["default"] == true).collect();
    assert_eq!((defaults.len(), &defaults[0]["name"]), (1, &json!("fresh")));
    olga.patch(&format!("{MODELS}/fresh"), &json!({ "status": "disabled" })).await.expect(200);
    until_offered(&ann, "fresh", false).await;
    let refused = ask(&ann, "fresh", "hello").await.expect(403);
    assert_eq!(refused.code(), "model_disabled");
    assert_eq!(ann.get("/v1/models/fresh").await.expect(403).code(), "model_disabled");
    let settings = json!({ "settings": { "model": "fresh" } });
    assert_eq!(ann.post("/v1/sessions", &settings).await.expect(403).code(), "model_disabled");
    // Where none is named, the first on offer answers.
    let session = ann.create_session().await;
    ann.say(&session, "who is there? [[tokens=2]]").await.completed();
}

#[tokio::test]
async fn a_provider_is_moved_disabled_and_added() {
    let cluster = cluster("").await;
    let (olga, ann) = (admin(&cluster, "a"), user(&cluster, "b"));
    let other = Provider::start();
    let moved = json!({ "base_url": other.base_url() });
    olga.patch(&format!("{PROVIDERS}/scripted"), &moved).await.expect(200);
    eventually("the other provider is asked", SOON, async || {
        ask(&ann, "scripted", "where are you? [[tokens=2]]").await.expect(200);
        !other.calls("where are you?").is_empty()
    })
    .await;
    let off = json!({ "status": "disabled" });
    olga.patch(&format!("{PROVIDERS}/scripted"), &off).await.expect(200);
    until_offered(&ann, "scripted", false).await;
    assert_eq!(ask(&ann, "scripted", "hello").await.expect(403).code(), "model_disabled");
    assert_eq!(offered(&ann).await, Vec::<String>::new());
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let refused = ann.post(&path, &json!({ "content": "hello" })).await.expect(404);
    assert_eq!(refused.code(), "no_model");

    let new = json!({
        "name": "second", "kind": "openai", "base_url": cluster.provider.base_url(),
        "api_key_env": "COLLOQUY_NOT_SET_API_KEY", "max_retries": 0,
    });
    olga.post(PROVIDERS, &new).await.expect(201);
    let on_it = json!({ "name": "x/1", "provider": "second", "context": 99, "max_output": 9 });
    olga.post(MODELS, &on_it).await.expect(201);
    until_offered(&ann, "x/1", true).await;
    let failed = ask(&ann, "x/1", "hello [[tokens=2]]").await.expect(502);
    assert_eq!(failed.code(), "provider_misconfigured");
    assert!(failed.body.contains("NOT_SET_API_KEY"), "{}", failed.body);
    let health = olga.get("/health").await.expect(200);
    assert_eq!(health.text("/checks/providers/second/problem"), "provider_misconfigured");
    assert!(health.json["checks"]["providers"].get("scripted").is_none(), "it is disabled");
    let key = json!({ "api_key_env": null });
    let shown = olga.patch(&format!("{PROVIDERS}/second"), &key).await.expect(200);
    assert_eq!(shown.json["models"], json!(["x/1"]));
    eventually("it answers", SOON, async || {
        ask(&ann, "x/1", "hello [[tokens=2]]").await.status == 200
    })
    .await;
    olga.get(&format!("{MODELS}/x%2F1")).await.expect(200);
}

#[tokio::test]
async fn prices_are_set_and_shown() {
    let cluster = cluster("").await;
    let (olga, at_b) = (admin(&cluster, "a"), admin(&cluster, "b"));
    let price = json!({ "model": "other", "input_per_1k": "0.15", "output_per_1k": 0.6 });
    let set = olga.post(PRICES, &price).await.expect(201);
    assert_eq!((set.text("/service").as_str(), set.json["in_force"].as_bool()), ("*", Some(true)));
    assert_eq!(set.text("/output_per_1k"), "0.6");
    olga.post(PRICES, &price).await.expect(200);
    let later = json!({
        "model": "other", "service": "writing", "input_per_1k": "1", "output_per_1k": "2",
        "from": "2999-01-01T00:00:00Z",
    });
    assert_eq!(olga.post(PRICES, &later).await.expect(201).json["in_force"], false);
    let change = json!({ "price": { "input_per_1k": "0.2", "output_per_1k": "0.6" } });
    let shown = olga.patch(&format!("{MODELS}/other"), &change).await.expect(200);
    assert_eq!(shown.text("/prices/0/input_per_1k"), "0.2");
    assert_eq!(shown.json["prices"].as_array().unwrap().len(), 1, "of those that hold now");
    // On another node at once: the admins' reads are as new as the log.
    let listed = at_b.get(&format!("{PRICES}?model=other")).await.expect(200);
    let inputs: Vec<_> = listed.data().iter().map(|one| one["input_per_1k"].clone()).collect();
    assert_eq!(inputs, ["0.2", "1", "0.15"]);
    let holds: Vec<_> = listed.data().iter().map(|one| one["in_force"].clone()).collect();
    assert_eq!(holds, [true, false, false]);
    let writing = at_b.get(&format!("{PRICES}?model=other&service=writing")).await.expect(200);
    assert_eq!(writing.data().len(), 1);
    eventually("callers see the price", SOON, async || {
        let model = user(&cluster, "b").get("/v1/models/other").await.expect(200);
        model.json["prices"]
            == json!([{ "service": "*", "input_per_1k": "0.2", "output_per_1k": "0.6" }])
    })
    .await;
}

#[tokio::test]
async fn a_change_that_comes_twice_is_made_once() {
    let cluster = cluster("").await;
    let post = async |node: &str, body: Value| {
        let client = admin(&cluster, node);
        let request = client.request(Method::POST, MODELS).json(&body);
        client.send(request.header("idempotency-key", "k1")).await
    };
    let first = post("a", model("twice")).await.expect(201);
    let again = post("b", model("twice")).await.expect(201);
    let position = |answer: &Answer| answer.header("x-colloquy-position").map(str::to_owned);
    assert_eq!(position(&again), position(&first));
    assert_eq!(post("a", model("else")).await.expect(422).code(), "idempotency_key_reused");
    let unnamed = admin(&cluster, "b").post(MODELS, &model("twice")).await.expect(409);
    assert_eq!(unnamed.code(), "model_exists");
}

#[tokio::test]
async fn a_restart_keeps_what_admins_did_and_takes_in_what_the_file_changed() {
    let mut cluster = cluster("").await;
    let olga = admin(&cluster, "a");
    olga.patch(&format!("{MODELS}/other"), &json!({ "max_output": 77 })).await.expect(200);
    olga.patch(&format!("{MODELS}/bench-32"), &json!({ "status": "disabled" })).await.expect(200);
    restart(&mut cluster, "a").await;
    let shown = async |olga: &Client, name: &str| {
        olga.get(&format!("{MODELS}/{name}")).await.expect(200).json
    };
    assert_eq!(shown(&olga, "other").await["max_output"], 77);
    assert_eq!(shown(&olga, "bench-32").await["available"], false);

    let file = cluster.folder().join("colloquy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text
        .replace(r#""other", context = 8192"#, r#""other", context = 5000, display_name = "Other""#)
        .replace(r#""scripted", context"#, r#""renamed", context"#);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    restart(&mut cluster, "a").await;
    let other = shown(&olga, "other").await;
    assert_eq!((&other["context"], &other["display_name"]), (&json!(5000), &json!("Other")));
    assert_eq!(other["max_output"], 77, "the file has not changed it");
    assert_eq!(shown(&olga, "bench-32").await["available"], false);
    assert_eq!(shown(&olga, "scripted").await["available"], true, "what has gone stays");
    until_offered(&user(&cluster, "b"), "renamed", true).await;

    let said = cluster.cli(&["seed"]).await;
    assert!(said.contains("nothing was changed"), "{said}");
    let said = cluster.cli(&["seed", "--prune"]).await;
    assert_eq!(said.trim(), "model scripted is changed; it is disabled");
    until_offered(&user(&cluster, "a"), "scripted", false).await;
    let doctor = cluster.cli(&["doctor"]).await;
    assert!(doctor.contains("ok       provider scripted"), "{doctor}");
}

#[tokio::test]
async fn the_operator_s_tenant_alone_changes_what_all_share() {
    let cluster = cluster("[admin]\noperator_tenant = \"ops\"\n").await;
    let stranger = Client::new(cluster.base("a"), Some(token::with_role("acme", "al", "admin")));
    for path in [PROVIDERS, MODELS, PRICES] {
        assert_eq!(stranger.get(path).await.expect(403).code(), "operator_only");
        admin(&cluster, "a").get(path).await.expect(200);
    }
    assert_eq!(stranger.post(MODELS, &model("m")).await.expect(403).code(), "operator_only");
    let forged = token::with_role("_deployment", "olga", "admin");
    let forged = stranger.with_token(Some(forged)).get(MODELS).await.expect(401);
    assert_eq!(forged.code(), "invalid_token");
}
