//! Answers whose length nobody limited: their hold grows in steps, and where it can't, they end
//! there.

use serde_json::{Value, json};
use tests::Transcript;

use super::{assert_free, bill};
use crate::quota::support::{Tenant, account_path, assert_balanced, audit, called, position};

/// `quota.answer_step` of the cluster.
const STEP: i64 = 64;

/// The tokens that each of the turn's holds added.
async fn steps(tenant: &Tenant, turn: &str) -> Vec<i64> {
    let events = audit(&tenant.olga, "ann").await;
    let reserved = called(&events, "QuotaReserved");
    let of_turn = reserved.into_iter().filter(|hold| hold["reservation_id"] == turn);
    let holds: Vec<&Value> = of_turn.collect();
    for (number, hold) in holds.iter().enumerate() {
        assert_eq!(hold["extends"], number > 0, "{hold}");
    }
    holds.iter().map(|hold| hold["amount"]["tokens"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_long_answer_is_held_for_step_by_step() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 5000 })).await;
    let session = ann.create_session().await;
    let transcript = ann.say(&session, "grows [[tokens=400 pause=1]]").await;
    assert_eq!(transcript.completed()["finish_reason"], "stop");
    let turn = transcript.turn_id();
    let line = bill(&ann, &turn).await;
    assert_eq!(line["usage"]["completion_tokens"], 400);
    let steps = steps(&tenant, &turn).await;
    assert!(steps.len() > 3, "{steps:?}");
    assert!(steps[1..].iter().all(|step| step % STEP == 0), "{steps:?}");
    assert!(steps.iter().sum::<i64>() >= 400, "{steps:?}");
    assert_eq!(line["overdrawn_tokens"], 0);
    assert_balanced(&ann, position(&transcript)).await;
    // One that fits into the first step asks for no more.
    let short = ann.say(&session, "stays small [[tokens=8]]").await.turn_id();
    assert_eq!(self::steps(&tenant, &short).await.len(), 1);
}

#[tokio::test]
async fn an_answer_ends_where_the_account_has_no_more_room() {
    let tenant = Tenant::new().await;
    // The prompt, a first step, one more, and half of a third.
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 190 })).await;
    let session = ann.create_session().await;
    let text = "is cut short [[tokens=1000 pause=2 counting]]";
    let transcript = ann.say(&session, text).await;
    let end = transcript.completed();
    assert_eq!(
        (&end["finish_reason"], &end["stopped_by"]),
        (&json!("length"), &json!("insufficient_quota"))
    );
    assert_eq!(transcript.text(), transcript.message_text(), "what was said is kept");
    let turn = transcript.turn_id();
    let shown = ann.ended(&turn).await;
    assert_eq!(shown.text("/finish_reason"), "length");
    assert_eq!(shown.text("/stopped_by"), "insufficient_quota");
    assert_eq!(shown.json["content"], end["message"]["content"]);
    let line = bill(&ann, &turn).await;
    let said = line["usage"]["completion_tokens"].as_i64().unwrap();
    // All that was held is given before it ends.
    assert!((STEP..=3 * STEP).contains(&said), "{line}");
    let held = steps(&tenant, &turn).await;
    assert_eq!(held.iter().sum::<i64>(), 190, "the last step is what there is: {held:?}");
    let estimate = i64::try_from(transcript.text().len().div_ceil(4)).unwrap();
    assert!(estimate >= 2 * STEP, "{estimate} of {} said", 2 * STEP);
    let again = Transcript::of(tenant.at_b(&ann).watch(&turn, None).await).await;
    assert_eq!(again.events, transcript.events, "and told again");

    // OpenAI's clients know `length`; more room lets a retry end by itself.
    let body = json!({
        "model": "scripted", "messages": [{ "role": "user", "content": text }],
    });
    let path = account_path("ann", "/limits");
    tenant.olga.patch(&path, &json!({ "tokens_per_day": 380 })).await.expect(200);
    let answer = ann.post("/v1/chat/completions", &body).await.expect(200);
    assert_eq!(answer.text("/choices/0/finish_reason"), "length");
    tenant.olga.patch(&path, &json!({ "tokens_per_day": 0 })).await.expect(200);
    let retried = ann.post_empty(&format!("/v1/turns/{turn}/retry")).await.expect(202);
    let stream = ann.watch(&retried.text("/turn_id"), None).await;
    assert_eq!(Transcript::of(stream).await.completed()["finish_reason"], "stop");
}

#[tokio::test]
async fn an_answer_that_its_hold_has_room_for_is_not_cut() {
    let tenant = Tenant::new().await;
    // Room for the prompt and the first step, and for a little of another.
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 110 })).await;
    let session = ann.create_session().await;
    // Nearer to the step's end than where the next one is asked for.
    let transcript = ann.say(&session, "fits just so [[tokens=40 pause=2]]").await;
    let end = transcript.completed();
    assert_eq!((&end["finish_reason"], &end["stopped_by"]), (&json!("stop"), &Value::Null));
    assert_eq!(transcript.text(), tenant.cluster.provider.calls("fits just so")[0].text);
    let turn = transcript.turn_id();
    assert!(steps(&tenant, &turn).await.iter().sum::<i64>() <= 110);
    bill(&ann, &turn).await;
}

#[tokio::test]
async fn a_limited_answer_is_held_for_at_once() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let body = json!({ "content": "at once [[tokens=200]]", "settings": { "max_tokens": 250 } });
    let turn = ann.post(&path, &body).await.expect(202).text("/turn_id");
    bill(&ann, &turn).await;
    let steps = steps(&tenant, &turn).await;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0] > 250, "{steps:?}");
    let failed = ann.say(&session, "and fails [[status=400]]").await;
    assert_free(&ann, &failed.turn_id()).await;
}
