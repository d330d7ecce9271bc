//! What a turn is charged, whatever ends it: completed, failed, cancelled, cut short; and that
//! nothing stays held.

mod cancelled;
mod expiring;
mod growing;
mod priced;
mod repeated;

use serde_json::{Value, json};
use tests::{Client, Transcript};

use super::support::{
    Tenant, account, assert_balanced, audit, called, cost, credits, ledger, position,
};

/// The one line of the ledger that settles `turn`, which must say what the turn says.
async fn bill(client: &Client, turn: &str) -> Value {
    let shown = client.ended(turn).await;
    let lines = ledger(client, shown.number("/position")).await;
    let mut of_turn = lines.into_iter().filter(|line| line["turn_id"] == turn);
    let line = of_turn.next().unwrap_or_else(|| panic!("no line for {}", shown.body));
    assert_eq!(of_turn.next(), None, "billed twice");
    assert_eq!(line["usage"], shown.json["usage"]);
    let paid = credits(&shown.json["credits"]);
    assert_eq!(credits(&line["credits"]), paid.negated());
    assert_eq!(paid, cost(&shown.json["usage"]));
    let usage = |name: &str| line["usage"][name].as_i64().unwrap();
    let total = usage("prompt_tokens") + usage("completion_tokens");
    assert_eq!(line["tokens"], -total);
    assert_eq!(line["kind"], "consumption");
    line
}

/// Nothing was charged for `turn`, and nothing is held.
async fn assert_free(client: &Client, turn: &str) {
    let shown = client.ended(turn).await;
    assert_eq!(shown.json["credits"], Value::Null, "{}", shown.body);
    let lines = assert_balanced(client, shown.number("/position")).await;
    assert!(lines.iter().all(|line| line["turn_id"] != turn), "{lines:?}");
}

#[tokio::test]
async fn a_completed_turn_costs_what_the_provider_counted() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let session = ann.create_session().await;
    let text = "counted exactly [[tokens=30]]";
    let transcript = ann.say(&session, text).await;
    let line = bill(&ann, &transcript.turn_id()).await;
    let counted = tenant.cluster.provider.calls(text)[0].usage.unwrap();
    assert_eq!(line["usage"]["prompt_tokens"], counted.prompt);
    assert_eq!(line["usage"]["completion_tokens"], 30);
    assert_eq!(line["usage"]["estimated"], false);
    assert_eq!((&line["late"], &line["overdrawn_tokens"]), (&json!(false), &json!(0)));
    // The stream's end says the same price.
    assert_eq!(credits(&transcript.completed()["credits"]), cost(&line["usage"]));
    let lines = assert_balanced(&tenant.at_b(&ann), position(&transcript)).await;
    assert_eq!(lines.len(), 1);

    let body = json!({
        "model": "scripted", "messages": [{ "role": "user", "content": "by OpenAI's route" }],
    });
    let answer = ann.post("/v1/chat/completions", &body).await.expect(200);
    let line = bill(&ann, &answer.text("/turn_id")).await;
    for tokens in ["prompt_tokens", "completion_tokens"] {
        assert_eq!(line["usage"][tokens], answer.json["usage"][tokens]);
    }
}

#[tokio::test]
async fn without_a_count_that_can_be_true_it_is_estimated() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let session = ann.create_session().await;
    for text in [
        "says nothing [[tokens=40 no-usage]]",
        // More than the model and the texts can hold, and more than any model can.
        "says nonsense [[tokens=40 claims=500000]]",
        "says more nonsense [[tokens=40 claims=4000000000]]",
    ] {
        let turn = ann.say(&session, text).await.turn_id();
        let line = bill(&ann, &turn).await;
        assert_eq!(line["usage"]["estimated"], true, "{text}");
        let tokens = line["usage"]["completion_tokens"].as_i64().unwrap();
        assert!((20..=80).contains(&tokens), "{text}: {line}");
        assert_eq!(line["overdrawn_tokens"], 0, "{line}");
    }
    // What can be true is believed, also beyond what was held.
    let text = "thinks in secret [[tokens=4 claims=3000]]";
    let line = bill(&ann, &ann.say(&session, text).await.turn_id()).await;
    assert_eq!(line["usage"]["completion_tokens"], 3000);
    assert_eq!(line["usage"]["estimated"], false);
    assert!(line["overdrawn_tokens"].as_i64().unwrap() > 2000, "{line}");
    let statistics = ann.get("/v1/quota/statistics").await.expect(200);
    assert_eq!(statistics.number("/totals/estimated_requests"), 3);
}

#[tokio::test]
async fn a_failed_turn_costs_nothing_and_its_retry_is_billed() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    for text in [
        "refused at once [[status=400]]",
        "breaks off [[tokens=30 cut=12]]",
        "breaks off, counted [[tokens=30 cut=12 counting]]",
    ] {
        let session = ann.create_session().await;
        let transcript = ann.say(&session, text).await;
        assert_eq!(transcript.end().unwrap().name, "turn.failed", "{text}");
        assert_free(&ann, &transcript.turn_id()).await;
    }
    let failed = {
        let session = ann.create_session().await;
        let failed = ann.say(&session, "works at last [[tokens=9 cut=4 times=3]]").await;
        assert_free(&ann, &failed.turn_id()).await;
        failed.turn_id()
    };
    let retried = ann.post_empty(&format!("/v1/turns/{failed}/retry")).await.expect(202);
    let turn = retried.text("/turn_id");
    let stream = ann.watch(&turn, None).await;
    let transcript = Transcript::of(stream).await;
    assert_eq!(bill(&ann, &turn).await["usage"]["completion_tokens"], 9);
    assert_free(&ann, &failed).await;
    assert_eq!(assert_balanced(&ann, position(&transcript)).await.len(), 1);
    let events = audit(&tenant.olga, "ann").await;
    assert_eq!(called(&events, "ReservationReleased").len(), 4);
}

#[tokio::test]
async fn of_several_attempts_only_the_accepted_one_is_paid() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let session = ann.create_session().await;
    let text = "broken off twice [[tokens=40 cut=30 times=2 counting]]";
    let transcript = ann.say(&session, text).await;
    transcript.completed();
    let turn = transcript.turn_id();
    assert_eq!(bill(&ann, &turn).await["usage"]["completion_tokens"], 40);
    let shown = ann.get(&format!("/v1/turns/{turn}")).await.expect(200);
    let lost = shown.json["abandoned_attempts"].as_array().unwrap();
    let used: Vec<_> = lost.iter().map(|one| &one["usage"]["completion_tokens"]).collect();
    assert_eq!(used, [30, 30], "what the others used is told");
    assert_eq!(assert_balanced(&ann, position(&transcript)).await.len(), 1);
}

#[tokio::test]
async fn an_admin_in_a_users_session_spends_the_users_quota() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 300 })).await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let body = json!({ "content": "from above [[tokens=5]]", "settings": { "max_tokens": 10 } });
    let sent = tenant.olga.post(&path, &body).await.expect(202);
    assert_eq!(sent.header("x-ratelimit-limit-tokens"), Some("300"), "the owner's limits");
    let turn = sent.text("/turn_id");
    let line = bill(&ann, &turn).await;
    assert_eq!(line["usage"]["completion_tokens"], 5);
    let admins = account(&tenant.olga, sent.number("/position")).await;
    assert_eq!(admins.json["exists"], false, "nobody has used the admin's own");
    // And the user's limits hold for them.
    let large = json!({ "content": "from above", "settings": { "max_tokens": 400 } });
    assert_eq!(tenant.olga.post(&path, &large).await.expect(429).code(), "insufficient_quota");
    let retry = tenant.olga.post_empty(&format!("/v1/turns/{turn}/retry")).await.expect(202);
    bill(&ann, &retry.text("/turn_id")).await;
    let events = audit(&tenant.olga, "ann").await;
    let reserved: Vec<_> =
        events.iter().filter(|event| event["event_type"] == "QuotaReserved").collect();
    assert_eq!(reserved.len(), 2);
    assert!(reserved.iter().all(|event| event["metadata"]["actor"] == "olga"), "{reserved:?}");
}
