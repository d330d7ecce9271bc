//! A hold whose turn gives no sign of life ends by itself and makes room; what the turn used is
//! charged all the same when it ends.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tests::{Transcript, eventually};

use super::bill;
use crate::quota::support::{Tenant, assert_balanced, audit, called, limit_of, position};

/// The sweeper looks every ten seconds.
const SWEPT: Duration = Duration::from_secs(40);

/// Ages the hold of `turn`: appends what another process might have an hour ago.
async fn age(pool: &PgPool, tenant: &Tenant, account: &str, turn: &str) {
    let held = json!({ "QuotaReserved": {
        "reservation_id": turn, "service": "chat", "model": "scripted",
        "amount": { "tokens": 0, "credits": "0" }, "price": null,
        "expires_at": "2026-01-01T01:00:00Z", "extends": true, "at": "2026-01-01T00:00:00Z",
    }});
    sqlx::query(
        "SELECT appended.* FROM
            (SELECT max(sequence) AS version FROM events WHERE aggregate_id = $1) AS v,
            append_events(
                ARRAY[$2], '{}', '{}', '{}', '{}', '{}', '{}', '{}',
                ARRAY[1], ARRAY['quota'], ARRAY[$1], ARRAY[v.version],
                ARRAY[1], ARRAY[gen_random_uuid()], ARRAY['quota'], ARRAY[$1],
                ARRAY[v.version + 1], ARRAY['QuotaReserved'], ARRAY['1.0'], ARRAY[$3],
                ARRAY['{}']) AS appended",
    )
    .bind(account)
    .bind(&tenant.name)
    .bind(held.to_string())
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_hold_that_expired_makes_room_and_is_settled_late_and_in_full() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "tokens_per_day": 200 })).await;
    let session = ann.create_session().await;
    let text = "outlives its hold [[tokens=90 gate=3]]";
    let request = ann
        .request(reqwest::Method::POST, &format!("/v1/sessions/{session}/messages"))
        .json(&json!({ "content": text, "settings": { "max_tokens": 120 } }));
    let mut stream = ann.open(request).await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let turn = transcript.turn_id();

    let other = format!("/v1/sessions/{}/messages", ann.create_session().await);
    let next = json!({ "content": "finds room [[tokens=1]]", "settings": { "max_tokens": 120 } });
    assert_eq!(ann.post(&other, &next).await.expect(429).header("retry-after"), Some("5"));
    let account = tenant.olga.get("/v1/audit/accounts/ann").await.expect(200).text("/account_id");
    age(&tenant.cluster.pool().await, &tenant, &account, &turn).await;
    eventually("the hold has expired", SWEPT, async || {
        let account = ann.get("/v1/quota").await.expect(200);
        limit_of(&account.json, "tokens_per_day")["reserved"] == 0
    })
    .await;
    let found = ann.post(&other, &next).await.expect(202).text("/turn_id");
    assert_eq!(bill(&ann, &found).await["late"], false);

    tenant.cluster.provider.open("outlives its hold");
    transcript.read_on(&mut stream).await;
    transcript.completed();
    let line = bill(&ann, &turn).await;
    assert_eq!((&line["late"], &line["usage"]["completion_tokens"]), (&json!(true), &json!(90)));
    assert_eq!(assert_balanced(&ann, position(&transcript)).await.len(), 2);
    let events = audit(&tenant.olga, "ann").await;
    let expired: Vec<&Value> = called(&events, "ReservationExpired");
    assert_eq!(expired.len(), 1);
}
