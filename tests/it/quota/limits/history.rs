//! While turns end and others come, on several nodes: at no moment of the log is more used and
//! held than the limit, and what is refused would not have fitted.

use domain::quota::{Account, QuotaEvent};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tests::Transcript;

use crate::quota::support::{Tenant, account, assert_balanced, audit, limit_of};
use crate::support::SOON;

const DAY: u64 = 3000;
const REQUESTS: usize = 200;
const AT_ONCE: usize = 16;

/// Folds the log event by event and looks at the account after each.
fn assert_never_exceeded(events: &[Value]) -> Account {
    let mut account = Account::default();
    for event in events {
        let told: QuotaEvent = serde_json::from_value(event["payload"].clone()).unwrap();
        account.apply(&told);
        let taken = account.day.used.tokens + account.held.tokens;
        assert!(taken <= DAY || account.tier_limits == account.limits(), "{taken}: {event}");
    }
    account
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_no_moment_is_more_used_and_held_than_the_limit() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": DAY })).await;
    let at_b = tenant.at_b(&ann);
    // Some end as they are held for, some sooner, some in a failure, some are cut short.
    let answers = ["tokens=40", "tokens=5", "tokens=20 cut=9", "tokens=90 pause=1"];
    let ask = async |number: usize| {
        let client = if number.is_multiple_of(2) { &ann } else { &at_b };
        let text = format!("in time {number} [[{}]]", answers[number % answers.len()]);
        let mut body = json!({
            "model": "scripted", "messages": [{ "role": "user", "content": text }],
        });
        if number.is_multiple_of(3) {
            body["max_tokens"] = json!(100);
        }
        let answer = client.post("/v1/chat/completions", &body).await;
        assert!([200, 429, 502].contains(&answer.status), "{}", answer.body);
        if answer.status == 429 {
            assert!(answer.text("/error/message").contains("tokens_per_day"), "{}", answer.body);
        }
        answer.status
    };
    let asked = stream::iter(0..REQUESTS).map(ask).buffer_unordered(AT_ONCE);
    let statuses: Vec<u16> = tokio::time::timeout(SOON * 2, asked.collect()).await.unwrap();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0 && refused < REQUESTS, "{refused} refused");
    // What was let go is there for others: one after the other, until the day is full.
    let small = json!({
        "model": "scripted", "messages": [{ "role": "user", "content": "[[tokens=5]]" }],
        "max_tokens": 5,
    });
    while ann.post("/v1/chat/completions", &small).await.status == 200 {}
    let events = audit(&tenant.olga, "ann").await;
    let folded = assert_never_exceeded(&events);
    assert!(folded.holds.is_empty(), "{:?}", folded.holds);
    let last = events.last().unwrap()["position"].as_i64().unwrap();
    assert_balanced(&at_b, last).await;
    let shown = account(&ann, last).await;
    assert_eq!(limit_of(&shown.json, "tokens_per_day")["used"], folded.day.used.tokens);
    assert!(folded.day.used.tokens > DAY - 40, "{}", folded.day.used.tokens);
}

#[tokio::test]
async fn a_message_that_is_refused_interrupts_nothing() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 200 })).await;
    let session = ann.create_session().await;
    let text = "goes on undisturbed [[tokens=12 gate=4]]";
    let mut stream = ann.stream_message(&session, text).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let path = format!("/v1/sessions/{session}/messages");
    let body = json!({
        "content": "instead", "on_busy": "interrupt", "settings": { "max_tokens": 190 },
    });
    assert_eq!(ann.post(&path, &body).await.expect(429).code(), "insufficient_quota");
    tenant.cluster.provider.open("goes on undisturbed");
    transcript.read_on(&mut stream).await;
    transcript.completed();
    let position = ann.ended(&transcript.turn_id()).await.number("/position");
    assert_eq!(ann.history(&session, position).await.len(), 2, "nothing of it was sent");
}
