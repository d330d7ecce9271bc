//! Little left: told once for each level of each limit, in the log, on the stream before the
//! turn's end, and in the headers of what is asked for next.

use serde_json::{Value, json};
use tests::{Client, SseEvent, Transcript};

use super::support::{Tenant, account, account_path, audit, called, limit_of, position};

/// A turn in a session of its own that uses `tokens`, and some of the prompt, whatever it holds.
async fn spend(client: &Client, tokens: i64) -> Transcript {
    let session = client.create_session().await;
    spend_in(client, &session, tokens).await
}

async fn spend_in(client: &Client, session: &str, tokens: i64) -> Transcript {
    let path = format!("/v1/sessions/{session}/messages");
    let body = json!({
        "content": format!("[[tokens=2 claims={tokens}]]"), "settings": { "max_tokens": 10 },
    });
    let request = client.request(reqwest::Method::POST, &path).json(&body);
    Transcript::of(client.open(request).await).await
}

fn warnings(transcript: &Transcript) -> Vec<&SseEvent> {
    transcript.events.iter().filter(|event| event.name == "quota.warning").collect()
}

/// Limit and level of each warning.
fn told(transcript: &Transcript) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let data = warnings(transcript).into_iter().map(SseEvent::json);
    data.map(|data| (text(&data["limit"]), text(&data["level"]))).collect()
}

fn expected(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(limit, level)| ((*limit).to_owned(), (*level).to_owned())).collect()
}

/// The events of a turn's stream as bytes, signs of life left out.
async fn stored(client: &Client, turn: &str) -> String {
    let answer = client.get(&format!("/v1/turns/{turn}/stream")).await.expect(200);
    answer.body.replace("event: keep-alive\ndata: {}\n\n", "")
}

#[tokio::test]
async fn each_level_is_told_once_and_the_same_from_storage() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 1000 })).await;
    let at_b = tenant.at_b(&ann);
    for (tokens, level) in [
        (500, None),
        (310, Some("warning")),
        (10, None),
        (95, Some("critical")),
        (5, None),
        (100, Some("exhausted")),
    ] {
        let transcript = spend(&ann, tokens).await;
        let levels: Vec<_> = level.into_iter().map(|level| ("tokens_per_day", level)).collect();
        assert_eq!(told(&transcript), expected(&levels), "after {tokens} more");
        let names: Vec<_> = transcript.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names.last(), Some(&"turn.completed"));
        let turn = transcript.turn_id();
        let live: Vec<_> =
            transcript.events.iter().map(|event| (event.id.clone(), event.data.clone())).collect();
        let again = Transcript::of(at_b.watch(&turn, None).await).await;
        let read: Vec<_> =
            again.events.iter().map(|event| (event.id.clone(), event.data.clone())).collect();
        assert_eq!(live, read, "live on one node and stored on another");
        assert_eq!(stored(&ann, &turn).await, stored(&at_b, &turn).await);
        if let (Some(level), [warning]) = (level, &warnings(&transcript)[..]) {
            let data = warning.json();
            assert_eq!((data["of"].clone(), data["turn_id"].clone()), (json!(1000), json!(turn)));
            assert!(data["left"].as_u64().unwrap() <= 200, "{data}");
            assert!(data["window"].is_string(), "{data}");
            assert_header(&ann, level, position(&transcript)).await;
        }
        // Who has seen all but the end gets the warnings with it once more.
        let before_end = transcript.ids()[transcript.ids().len() - 2].to_owned();
        let resumed = Transcript::of(at_b.watch(&turn, Some(&before_end)).await).await;
        assert_eq!(told(&resumed).len(), usize::from(level.is_some()));
    }
    let events = audit(&tenant.olga, "ann").await;
    let crossed = called(&events, "ThresholdCrossed");
    let levels: Vec<_> =
        crossed.iter().map(|event| event["threshold"]["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["warning", "critical", "exhausted"]);
}

/// The next request is told of it too, be it taken or refused.
async fn assert_header(client: &Client, level: &str, after: i64) {
    let session = client.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let large = json!({ "content": "too much", "settings": { "max_tokens": 900 } });
    let refused = client.post(&path, &large).await.expect(429);
    let warning = format!("tokens_per_day={level}");
    assert_eq!(refused.header("x-quota-warning"), Some(warning.as_str()));
    if level == "exhausted" {
        assert_eq!(account(client, after).await.text("/status"), "exhausted");
        assert_eq!(refused.header("x-ratelimit-remaining-tokens"), Some("0"));
        return;
    }
    let small = json!({ "content": "[[tokens=1 claims=1]]", "settings": { "max_tokens": 1 } });
    let taken = client.post(&path, &small).await.expect(202);
    assert_eq!(taken.header("x-quota-warning"), Some(warning.as_str()));
    client.ended(&taken.text("/turn_id")).await;
}

#[tokio::test]
async fn one_turn_may_cross_several_at_once() {
    let tenant = Tenant::new().await;
    let limits =
        json!({ "tokens_per_day": 1000, "credits_per_day": "2", "tokens_per_month": 9000 });
    let ann = tenant.limited("ann", limits).await;
    let session = ann.create_session().await;
    // A session's stream tells them, too.
    let events = ann.request(reqwest::Method::GET, &format!("/v1/sessions/{session}/events"));
    let mut watched = ann.open(events).await;
    let transcript = spend_in(&ann, &session, 1200).await;
    assert_eq!(
        told(&transcript),
        expected(&[
            ("tokens_per_day", "warning"),
            ("tokens_per_day", "critical"),
            ("tokens_per_day", "exhausted"),
            ("credits_per_day", "warning"),
            ("credits_per_day", "critical"),
            ("credits_per_day", "exhausted"),
        ])
    );
    let mut seen = Vec::new();
    loop {
        let event = watched.next_real().await.unwrap().unwrap();
        match event.name.as_str() {
            "quota.warning" => seen.push(event.data),
            "turn.completed" => break,
            _ => {}
        }
    }
    let data: Vec<_> = warnings(&transcript).iter().map(|event| event.data.clone()).collect();
    assert_eq!(seen, data);
}

#[tokio::test]
async fn a_recharge_lets_the_balance_be_told_of_again() {
    let tenant = Tenant::new().await;
    let limits = json!({ "tokens_total": 1000, "credit_balance": "1000" });
    let ann = tenant.limited("ann", limits).await;
    assert_eq!(told(&spend(&ann, 850).await), expected(&[("tokens_total", "warning")]));
    assert_eq!(told(&spend(&ann, 70).await), expected(&[("tokens_total", "critical")]));
    // Measured from here on against what there is now: about 2000.
    let paid = json!({ "tokens": 1925, "reason": "paid" });
    tenant.olga.post(&account_path("ann", "/recharge"), &paid).await.expect(200);
    let transcript = spend(&ann, 1000).await;
    assert_eq!(told(&transcript), expected(&[]));
    let shown = account(&ann, position(&transcript)).await;
    assert_eq!(limit_of(&shown.json, "tokens_total")["level"], Value::Null);
    assert_eq!(told(&spend(&ann, 650).await), expected(&[("tokens_total", "warning")]));
    // A day's window isn't the balance's: paying for more doesn't open it.
    let path = account_path("ann", "/limits");
    let day = json!({ "tokens_per_day": 2700 });
    let changed = tenant.olga.patch(&path, &day).await.expect(200);
    assert!(limit_of(&changed.json["account"], "tokens_per_day")["level"].is_string());
    let events = audit(&tenant.olga, "ann").await;
    let by_admin = called(&events, "ThresholdCrossed")
        .into_iter()
        .filter(|event| event["threshold"]["limit"] == "tokens_per_day")
        .all(|event| event["turn_id"].is_null());
    assert!(by_admin, "a limit that was lowered is told of at once, without a turn");
    let money = json!({ "credits": "1", "reason": "paid" });
    let answer = tenant.olga.post(&account_path("ann", "/recharge"), &money).await.expect(200);
    assert!(limit_of(&answer.json["account"], "tokens_per_day")["level"].is_string());
}
