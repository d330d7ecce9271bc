//! Models with several providers: one that fails before its first word is stood in for by the
//! next, unnoticed and at the model's price; where all fail, the turn does, at no cost.

use std::time::Duration;

use serde_json::{Value, json};
use tests::provider::{Ended, Provider};
use tests::{Client, Cluster, Transcript, eventually, invariants, token};

use crate::support::{BINARY, SOON};

/// What the second provider answers with, whatever the message says to the first.
const FALLBACK: &str = r#"fallbacks = [{ provider = "scripted", upstream_name = "bench-32" }]"#;

/// For a provider that is to be given up.
const BRIEFLY: Duration = Duration::from_millis(500);

/// A provider of its own for a model of its own, `name`: what one model suffers shall not keep
/// the next from asking.
fn model(name: &str, base_url: &str, patience: Duration, more: &str) -> String {
    let patience = patience.as_millis();
    format!(
        r#"
[[providers]]
name = "at-{name}"
kind = "openai"
base_url = "{base_url}"
max_retries = 0
first_token_timeout_ms = {patience}
[[providers.models]]
name = "{name}"
context = 8192
max_output = 4096
price = {{ input_per_1k = "1", output_per_1k = "2" }}
{more}
"#
    )
}

/// A URL where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

async fn cluster(models: &str) -> Cluster {
    Cluster::builder(BINARY).node("a", "api,projector,relay,worker").config(models).start().await
}

/// The turn of a new session on `text`, answered by `model`.
async fn say(client: &Client, model: &str, text: &str) -> Transcript {
    let settings = json!({ "settings": { "model": model } });
    let session = client.post("/v1/sessions", &settings).await.expect(201).text("/id");
    client.say(&session, text).await
}

/// The charged lines of the user's ledger; nothing is held.
async fn charged(client: &Client, transcript: &Transcript) -> Vec<Value> {
    let position = transcript.end().unwrap().json()["position"].as_i64().unwrap();
    let account = client.get(&format!("/v1/quota?min_position={position}")).await.expect(200);
    for limit in account.json["limits"].as_array().unwrap() {
        assert!([json!(0), json!("0")].contains(&limit["reserved"]), "held: {limit}");
    }
    let path = format!("/v1/quota/transactions?kind=consumption&min_position={position}");
    client.get(&path).await.expect(200).data().to_vec()
}

#[tokio::test]
async fn who_fails_before_the_first_word_is_stood_in_for() {
    let first = Provider::start();
    let faults =
        ["status=500", "status=429", "status=401", "status=404", "hang", "cut=0", "error=0"];
    let names: Vec<String> = (0..faults.len()).map(|n| format!("m{n}")).collect();
    let mut config: String =
        names.iter().map(|name| model(name, &first.base_url(), BRIEFLY, FALLBACK)).collect();
    config.push_str(&model("gone", &nobody(), SOON, FALLBACK));
    let cluster = cluster(&config).await;
    let mut cases: Vec<(&str, String)> = names
        .iter()
        .zip(faults)
        .map(|(name, fault)| (name.as_str(), format!("falls over [[{fault}]]")))
        .collect();
    cases.push(("gone", "nobody is there".to_owned()));
    for (place, (name, text)) in cases.iter().enumerate() {
        let ann = cluster.client("a", "acme", &format!("ann-{name}"));
        let transcript = say(&ann, name, text).await;
        assert_eq!(transcript.text(), Provider::bench_text(32), "{text}");
        assert_eq!(transcript.completed()["usage"]["completion_tokens"], 32, "{text}");
        assert_eq!(cluster.provider.count(), place as u64 + 1, "{text}");
        let asked = first.calls(text).len();
        assert_eq!(asked, usize::from(*name != "gone"), "{text}: once, and no more");
        // By the model's price: 10 tokens of prompt and 32 of the answer.
        let lines = charged(&ann, &transcript).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["model"], &lines[0]["credits"]), (&json!(name), &json!("-0.074")));
    }
    eventually("who hangs is hung up on", SOON, async || {
        first.calls("falls over [[hang]]").iter().all(|call| call.ended == Ended::Abandoned)
    })
    .await;
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn where_all_fail_the_turn_does_and_nothing_is_held() {
    let first = Provider::start();
    let broken = r#"fallbacks = [{ provider = "at-gone" }, { provider = "scripted" }]"#;
    let config = model("m", &first.base_url(), SOON, broken) + &model("gone", &nobody(), SOON, "");
    let cluster = cluster(&config).await;
    let ann = cluster.client("a", "acme", "ann");
    let text = "nobody can [[status=503]]";
    let transcript = say(&ann, "m", text).await;
    let end = transcript.end().unwrap();
    assert_eq!(end.name, "turn.failed", "{end:?}");
    let error = &end.json()["error"];
    assert_eq!(error["code"], "provider_unavailable");
    let told = error["message"].as_str().unwrap();
    assert!(
        told.ends_with(
            "(asked were: at-m provider_unavailable, at-gone provider_unreachable, \
             scripted provider_unavailable)"
        ),
        "{told}"
    );
    assert_eq!(charged(&ann, &transcript).await, Vec::<Value>::new());
    // The scripted one has a retry of its own.
    assert_eq!((first.calls(text).len(), cluster.provider.calls(text).len()), (1, 2));

    // A request that is at fault itself is nobody else's affair.
    let transcript = say(&ann, "m", "not like this [[status=400]]").await;
    assert_eq!(transcript.end().unwrap().json()["error"]["code"], "provider_rejected");
    assert_eq!(cluster.provider.calls("not like this").len(), 0);
    assert_eq!(charged(&ann, &transcript).await, Vec::<Value>::new());
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn a_turn_that_is_stopped_while_the_next_one_is_awaited_leaves_nobody_waiting() {
    let first = Provider::start();
    let fallback = r#"fallbacks = [{ provider = "scripted" }]"#;
    let cluster = cluster(&model("m", &first.base_url(), BRIEFLY, fallback)).await;
    let ann = cluster.client("a", "acme", "ann");
    let settings = json!({ "settings": { "model": "m" } });
    let session = ann.post("/v1/sessions", &settings).await.expect(201).text("/id");
    let text = "both hang [[hang]]";
    let turn = ann.send_message(&session, text).await;
    eventually("the next one is asked", SOON, async || !cluster.provider.calls(text).is_empty())
        .await;
    ann.post_empty(&format!("/v1/turns/{}/cancel", turn.id)).await;
    assert_eq!(ann.ended(&turn.id).await.text("/status"), "cancelled");
    eventually("both are hung up on", SOON, async || {
        let calls = [first.calls(text), cluster.provider.calls(text)].concat();
        calls.iter().all(|call| call.ended == Ended::Abandoned)
    })
    .await;
    invariants::check(&cluster.pool().await).await;
}

#[tokio::test]
async fn admins_change_fallbacks_and_the_next_turn_goes_the_new_way() {
    const MODEL: &str = "/v1/admin/models/gone";
    let cluster = cluster(&model("gone", &nobody(), SOON, "")).await;
    let olga = Client::new(cluster.base("a"), Some(token::with_role("ops", "olga", "admin")));
    let ann = cluster.client("a", "acme", "ann");
    let failed = say(&ann, "gone", "hello").await;
    assert_eq!(failed.end().unwrap().json()["error"]["code"], "provider_unreachable");
    for (list, status, code) in [
        (json!([{ "provider": "nobody" }]), 404, "provider_not_found"),
        (json!([{ "provider": "at-gone" }]), 400, "invalid_model"),
        (json!([{ "provider": "scripted", "upstream_name": "" }]), 400, "invalid_model"),
        (json!([{ "provider": "scripted", "colour": "red" }]), 400, "invalid_body"),
        (json!(null), 400, "invalid_body"),
        (json!("scripted"), 400, "invalid_body"),
        (json!(vec![json!({ "provider": "scripted" }); 9]), 400, "invalid_model"),
    ] {
        let refused = olga.patch(MODEL, &json!({ "fallbacks": list })).await.expect(status);
        assert_eq!(refused.code(), code, "{list}");
    }
    let list = json!([{ "provider": "scripted", "upstream_name": "scripted" }]);
    let shown = olga.patch(MODEL, &json!({ "fallbacks": list })).await.expect(200);
    assert_eq!(shown.json["fallbacks"], list);
    let provider = olga.get("/v1/admin/providers/scripted").await.expect(200);
    assert_eq!(provider.json["fallback_of"], json!(["gone"]));
    assert_eq!(provider.json["continuation"], "none");
    let answered = say(&ann, "gone", "hello [[tokens=3]]").await;
    assert_eq!(answered.text(), cluster.provider.calls("hello [[tokens=3]]")[0].text);
    // One that is disabled is nobody's fallback, and the model is still on offer.
    let off = json!({ "status": "disabled" });
    olga.patch("/v1/admin/providers/scripted", &off).await.expect(200);
    let failed = say(&ann, "gone", "hello again").await;
    assert_eq!(failed.end().unwrap().json()["error"]["code"], "provider_unreachable");
    let strange = json!({ "continuation": "somehow" });
    let refused = olga.patch("/v1/admin/providers/at-gone", &strange).await.expect(400);
    assert_eq!(refused.code(), "invalid_body");
    let flags = json!({ "continuation": "final_message_flags" });
    let shown = olga.patch("/v1/admin/providers/at-gone", &flags).await.expect(200);
    assert_eq!(shown.json["continuation"], "final_message_flags");
}
