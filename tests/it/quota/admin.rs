//! What admins do to accounts, while they are used: tiers, limits, money, suspension.

mod opening;

use futures::future::join_all;
use serde_json::{Value, json};
use tests::{Client, Transcript};

use super::support::{
    Tenant, account, account_path, assert_balanced, audit, called, ledger, limit_of, position,
};

/// Uses the account of `client` for the first time.
async fn open(client: &Client) -> i64 {
    let session = client.create_session().await;
    let turn = client.say(&session, "opens an account [[tokens=2]]").await.turn_id();
    client.ended(&turn).await.number("/position")
}

#[tokio::test]
async fn a_tier_and_limits_of_its_own_hold_at_once_everywhere() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    open(&ann).await;
    let tier = json!({ "tier": "reader", "reason": "a trial" });
    let changed = tenant.olga.post(&account_path("ann", "/tier"), &tier).await.expect(200);
    assert_eq!(changed.text("/account/tier"), "reader");
    assert_eq!(changed.json["account"]["balance"]["tokens"].as_i64().unwrap() / 1000, 4999);
    let path = account_path("ann", "/limits");
    let own = json!({ "tokens_per_day": 40, "credits_per_day": "2.5", "reason": "too keen" });
    let changed = tenant.olga.patch(&path, &own).await.expect(200);
    assert_eq!(limit_of(&changed.json["account"], "tokens_per_day")["limit"], 40);
    let shown = account(&tenant.at_b(&ann), changed.number("/position")).await;
    assert_eq!(shown.json["overrides"], json!({ "tokens_per_day": 40, "credits_per_day": "2.5" }));
    assert_eq!(limit_of(&shown.json, "tokens_per_month")["limit"], 200_000);
    let session = ann.create_session().await;
    let path_of_session = format!("/v1/sessions/{session}/messages");
    let refused = tenant.at_b(&ann).post(&path_of_session, &json!({ "content": "x" })).await;
    assert_eq!(refused.expect(429).text("/limit"), "tokens_per_day");
    // Null takes a limit of its own away; what isn't named stays.
    let back = json!({ "tokens_per_day": null });
    let changed = tenant.olga.patch(&path, &back).await.expect(200);
    let shown = account(&ann, changed.number("/position")).await;
    assert_eq!(shown.json["overrides"], json!({ "credits_per_day": "2.5" }));
    assert_eq!(limit_of(&shown.json, "tokens_per_day")["limit"], 10_000);
    ann.say(&session, "has room again [[tokens=2]]").await.completed();
    // What is so already changes nothing.
    for (path, body) in [("/tier", tier), ("/limits", back)] {
        let path = account_path("ann", path);
        let again = tenant.olga.post(&path, &body).await;
        let again = if again.status == 405 { tenant.olga.patch(&path, &body).await } else { again };
        assert_eq!(again.expect(200).json["position"], Value::Null);
    }
    let events = audit(&tenant.olga, "ann").await;
    let by = |event: &Value| (event["by"].clone(), event["reason"].clone());
    assert_eq!(by(called(&events, "TierChanged")[0]), (json!("olga"), json!("a trial")));
    let overridden = called(&events, "LimitsOverridden");
    assert_eq!(overridden.len(), 2);
    assert_eq!(by(overridden[0]), (json!("olga"), json!("too keen")));
}

#[tokio::test]
async fn a_recharge_under_a_key_is_one_however_often_it_is_asked_for() {
    let tenant = Tenant::new().await;
    let ann = tenant.limited("ann", json!({ "credit_balance": "1" })).await;
    let (at_a, at_b) = (tenant.olga.clone(), tenant.at_b(&tenant.olga));
    let path = account_path("ann", "/recharge");
    let body = json!({ "credits": "10.25", "tokens": 7, "reason": "invoice 17" });
    let pay = async |number: usize| {
        let client = if number.is_multiple_of(2) { &at_a } else { &at_b };
        client.post_once(&path, "invoice-17", &body).await.expect(200)
    };
    let answers = join_all((0..10).map(pay)).await;
    let first = answers.iter().filter(|answer| answer.json["repeated"] == false).count();
    assert_eq!(first, 1, "one of them has paid");
    for answer in &answers {
        assert_eq!(answer.json["entry_id"], answers[0].json["entry_id"]);
        assert_eq!(answer.json["position"], answers[0].json["position"]);
        assert_eq!(answer.text("/account/balance/credits"), "11.25");
    }
    // The same key for something else.
    let other = json!({ "credits": "99", "reason": "invoice 18" });
    let reused = at_b.post_once(&path, "invoice-17", &other).await.expect(422);
    assert_eq!(reused.code(), "idempotency_key_reused");
    // Without a key each one counts.
    for _ in 0..2 {
        at_a.post(&path, &json!({ "credits": 0.1, "reason": "small" })).await.expect(200);
    }
    // By the route for all commands, under the command's own id.
    let command = json!({
        "command": "RechargeQuota", "command_id": "small-3", "user_id": "ann", "credits": "0.05",
        "reason": "smaller",
    });
    for repeated in [false, true] {
        let answer = at_b.post("/v1/commands", &command).await.expect(202);
        assert_eq!(answer.json["repeated"], repeated);
    }
    let position = at_a.post("/v1/commands", &command).await.expect(202).number("/position");
    let lines = assert_balanced(&tenant.at_b(&ann), position).await;
    let paid: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "recharge")
        .map(|line| (line["credits"].clone(), line["reason"].clone(), line["by"].clone()))
        .collect();
    let olga = || json!("olga");
    assert_eq!(
        paid,
        [
            (json!("10.25"), json!("invoice 17"), olga()),
            (json!("0.1"), json!("small"), olga()),
            (json!("0.1"), json!("small"), olga()),
            (json!("0.05"), json!("smaller"), olga()),
        ]
    );
    assert_eq!(lines.last().unwrap()["balance"], json!({ "tokens": 7, "credits": "11.5" }));
}

#[tokio::test]
async fn a_suspended_user_keeps_what_runs_and_gets_no_more() {
    let tenant = Tenant::new().await;
    let ann = tenant.user("ann");
    let (one, two) = (ann.create_session().await, ann.create_session().await);
    let text = "runs while suspended [[tokens=30 gate=5]]";
    let long = "runs long while suspended [[tokens=400 pause=2 gate=5]]";
    let mut running = ann.stream_message(&one, text).await;
    let mut growing = ann.stream_message(&two, long).await;
    let (mut short, mut cut) = (Transcript::default(), Transcript::default());
    assert!(short.read_deltas(&mut running, 1).await && cut.read_deltas(&mut growing, 1).await);
    let path = account_path("ann", "/suspend");
    let why = json!({ "reason": "unpaid since March" });
    let suspended = tenant.olga.post(&path, &why).await.expect(200);
    assert_eq!(suspended.text("/account/status"), "suspended");
    assert_eq!(tenant.olga.post(&path, &why).await.expect(200).json["position"], Value::Null);
    tenant.cluster.provider.open("while suspended");
    short.read_on(&mut running).await;
    assert_eq!(short.completed()["finish_reason"], "stop", "what was held is given");
    cut.read_on(&mut growing).await;
    assert_eq!(cut.completed()["finish_reason"], "length");
    assert_eq!(cut.completed()["stopped_by"], "account_suspended");
    let at_b = tenant.at_b(&ann);
    let messages = format!("/v1/sessions/{one}/messages");
    let refused = at_b.post(&messages, &json!({ "content": "more" })).await.expect(403);
    assert_eq!(refused.code(), "account_suspended");
    assert!(refused.text("/detail").contains("unpaid since March"), "{}", refused.body);
    let chat = json!({ "model": "scripted", "messages": [{ "role": "user", "content": "x" }] });
    let refused = at_b.post("/v1/chat/completions", &chat).await.expect(403);
    assert_eq!(refused.text("/error/code"), "account_suspended");
    let shown = account(&at_b, suspended.number("/position")).await;
    assert_eq!(shown.text("/suspended_for"), "unpaid since March");

    tenant.olga.post_empty(&account_path("ann", "/activate")).await.expect(200);
    let again = ann.say(&one, "again [[tokens=3]]").await;
    again.completed();
    assert_eq!(assert_balanced(&ann, position(&again)).await.len(), 3);
    let events = audit(&tenant.olga, "ann").await;
    assert_eq!(called(&events, "QuotaSuspended")[0]["reason"], "unpaid since March");
    assert_eq!(called(&events, "QuotaActivated")[0]["by"], "olga");
}

#[tokio::test]
async fn what_was_used_is_reset_and_balances_are_adjusted() {
    let tenant = Tenant::new().await;
    let limits = json!({ "tokens_per_day": 500, "tokens_total": 1000, "credit_balance": "3" });
    let ann = tenant.limited("ann", limits).await;
    let use_up = json!({
        "user_id": "ann", "service": "search", "model": "scripted",
        "usage": { "prompt_tokens": 400 },
    });
    tenant.olga.post("/v1/quota/consume", &use_up).await.expect(200);
    tenant.olga.post("/v1/quota/consume", &use_up).await.expect(429);
    let reset = account_path("ann", "/reset");
    let day = json!({ "scope": "day", "reason": "an apology" });
    let answer = tenant.olga.post(&reset, &day).await.expect(200);
    assert_eq!(limit_of(&answer.json["account"], "tokens_per_day")["used"], 0);
    assert_eq!(limit_of(&answer.json["account"], "tokens_per_month")["used"], 400);
    assert_eq!(answer.json["account"]["balance"], json!({ "tokens": 600, "credits": "2.6" }));
    tenant.olga.post("/v1/quota/consume", &use_up).await.expect(200);

    let adjust = account_path("ann", "/adjust");
    for (change, balance) in [
        (json!({ "credits": "-5" }), json!({ "tokens": 200, "credits": "-2.8" })),
        (json!({ "tokens": -250 }), json!({ "tokens": -50, "credits": "-2.8" })),
        (json!({ "tokens": 50, "credits": 2.8 }), json!({ "tokens": 0, "credits": "0" })),
    ] {
        let mut body = change;
        body["reason"] = json!("a dispute");
        let answer = tenant.olga.post(&adjust, &body).await.expect(200);
        assert_eq!(answer.json["account"]["balance"], balance);
    }
    let all = json!({ "scope": "all", "reason": "a new year" });
    let answer = tenant.olga.post(&reset, &all).await.expect(200);
    assert_eq!(answer.json["account"]["balance"], json!({ "tokens": 1000, "credits": "3" }));
    assert_eq!(answer.text("/account/status"), "active");
    let lines = assert_balanced(&ann, answer.number("/position")).await;
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["grant", "consumption", "consumption", "adjustment", "adjustment", "adjustment", "reset",]
    );
    assert!(lines[3..6].iter().all(|line| line["reason"] == "a dispute" && line["by"] == "olga"));
    // What the admin sees of the ledger is what the user sees.
    let path = format!("{}?order=asc&limit=100", account_path("ann", "/transactions"));
    let seen = tenant.olga.get(&path).await.expect(200);
    assert_eq!(seen.data(), ledger(&ann, 0).await);
}
