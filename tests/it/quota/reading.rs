//! What is read of an account agrees with its ledger, on every node, for nobody else's eyes.

mod consuming;

use domain::Credits;
use serde_json::{Value, json};
use tests::{Client, invariants};

use super::support::{
    Tenant, account, account_path, assert_balanced, credits, ledger, limit_of, shared,
};

/// A user with a history: turns on two models, use by a service, money.
async fn busy(tenant: &Tenant, user: &str) -> (Client, i64) {
    let ann = tenant.limited(user, json!({ "credit_balance": "100" })).await;
    let session = ann.create_session().await;
    for number in 0..4 {
        let text = format!("reading {number} [[tokens={}]]", 5 + number);
        ann.say(&session, &text).await.completed();
    }
    let path = format!("/v1/sessions/{session}/messages");
    let other = json!({ "content": "on another [[no-usage]]", "settings": { "model": "other" } });
    let turn = ann.post(&path, &other).await.expect(202).text("/turn_id");
    ann.ended(&turn).await;
    for tokens in [10, 900, 20] {
        let usage = json!({ "prompt_tokens": tokens, "cached_tokens": 5, "completion_tokens": 3 });
        let body = json!({ "service": "search", "model": "scripted", "usage": usage });
        ann.post("/v1/quota/consume", &body).await.expect(200);
    }
    let paid = json!({ "credits": "7.5", "reason": "paid" });
    let path = account_path(user, "/recharge");
    let position = tenant.olga.post(&path, &paid).await.expect(200).number("/position");
    (ann, position)
}

/// The sum of one number of many objects.
fn sum(lines: &[&Value], pointer: &str) -> i64 {
    lines.iter().map(|line| line.pointer(pointer).and_then(Value::as_i64).unwrap()).sum()
}

/// `totals` are the sums of the ledger's `lines`.
fn assert_sums(totals: &Value, lines: &[&Value]) {
    let number = |name: &str| totals[name].as_i64().unwrap();
    assert_eq!(number("requests"), i64::try_from(lines.len()).unwrap(), "{totals}");
    for name in ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"] {
        assert_eq!(number(name), sum(lines, &format!("/usage/{name}")), "{name}");
    }
    assert_eq!(number("total_tokens"), -sum(lines, "/tokens"));
    let paid: Credits = lines.iter().map(|line| credits(&line["credits"])).sum();
    assert_eq!(credits(&totals["credits"]), paid.negated());
    let estimated = lines.iter().filter(|line| line["usage"]["estimated"] == true).count();
    assert_eq!(number("estimated_requests"), i64::try_from(estimated).unwrap());
    let most = lines.iter().map(|line| -line["tokens"].as_i64().unwrap()).max().unwrap();
    assert_eq!(number("most_tokens"), most);
}

#[tokio::test]
async fn reports_are_the_sums_of_the_ledger() {
    let tenant = Tenant::new().await;
    let (ann, position) = busy(&tenant, "ann").await;
    // Read your writes, on the other node.
    let at_b = tenant.at_b(&ann);
    let lines = assert_balanced(&at_b, position).await;
    let used: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "consumption").collect();
    assert_eq!((lines.len(), used.len()), (10, 8));
    let wait = format!("min_position={position}");
    let statistics = at_b.get(&format!("/v1/quota/statistics?{wait}")).await.expect(200);
    assert_sums(&statistics.json["totals"], &used);
    assert_eq!(statistics.number("/active_days"), 1);
    assert_eq!(statistics.json["peak_day"]["tokens"], statistics.json["totals"]["total_tokens"]);
    let shown = account(&at_b, position).await;
    let total = statistics.json["totals"]["total_tokens"].clone();
    assert_eq!(limit_of(&shown.json, "tokens_per_day")["used"], total);
    assert_eq!(limit_of(&shown.json, "tokens_per_month")["used"], total);

    for (group, key) in [("model", "model"), ("service", "service"), ("day", "at")] {
        let path = format!("/v1/usage?group_by={group}&{wait}");
        let usage = at_b.get(&path).await.expect(200);
        let counted: usize = usage.data().len();
        assert_eq!(counted, if group == "day" { 1 } else { 2 }, "{}", usage.body);
        for line in usage.data() {
            let name = line["key"].as_str().unwrap();
            let of_key = |one: &&Value| one[key].as_str().unwrap().starts_with(name);
            assert_sums(line, &used.iter().copied().filter(of_key).collect::<Vec<_>>());
        }
    }
    // The admin's view of the user, and of the tenant, is the same.
    let path = format!("{}?{wait}", account_path("ann", "/statistics"));
    assert_eq!(tenant.olga.get(&path).await.expect(200).json, statistics.json);
    let path = format!("/v1/quota/statistics?scope=tenant&{wait}");
    assert_eq!(tenant.olga.get(&path).await.expect(200).json["totals"], statistics.json["totals"]);
}

#[tokio::test]
async fn the_ledger_is_paged_and_filtered() {
    let tenant = Tenant::new().await;
    let (ann, position) = busy(&tenant, "ann").await;
    let all = ledger(&ann, position).await;
    let mut backwards = all.clone();
    backwards.reverse();
    let list = async |query: &str| {
        let path = format!("/v1/quota/transactions?limit=100&min_position={position}&{query}");
        ann.get(&path).await.expect(200).data().to_vec()
    };
    assert_eq!(list("").await, backwards, "newest first");
    let only = |name: &str, value: &str| -> Vec<Value> {
        backwards.iter().filter(|line| line[name] == value).cloned().collect()
    };
    assert_eq!(list("kind=recharge").await, only("kind", "recharge"));
    assert_eq!(list("service=search").await, only("service", "search"));
    assert_eq!(list("model=other&service=chat").await, only("model", "other"));
    assert_eq!(list("kind=grant&service=chat").await, [] as [Value; 0]);
    let third = all[3]["at"].as_str().unwrap();
    let (from, to) = (list(&format!("from={third}")).await, list(&format!("to={third}")).await);
    assert_eq!([from, to].concat(), backwards, "`to` is no part of it");
    let today = third.split('T').next().unwrap();
    let of_day = list(&format!("from={today}&to={today}")).await;
    assert!(of_day.contains(&all[3]), "{today}");
    for bad in ["limit=0", "limit=101", "kind=gift", "from=yesterday", "cursor=!", "sort=at"] {
        let path = format!("/v1/quota/transactions?{bad}");
        assert_eq!(ann.get(&path).await.status, 400, "{bad}");
    }
    let path = format!("/v1/quota?min_position={}", i64::MAX);
    assert_eq!(ann.get(&path).await.expect(412).code(), "position_not_reached");
}

/// Who asks for no position waits for none.
#[tokio::test]
async fn an_account_is_shown_though_the_read_models_lag() {
    let tenant = Tenant::new().await;
    let (ann, bob) = (tenant.user("ann"), tenant.user("bob"));
    let pool = shared().await.pool().await;
    let mut held = pool.begin().await.unwrap();
    // Lets reads through.
    sqlx::query("LOCK TABLE accounts IN EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let usage = json!({ "prompt_tokens": 10 });
    let body = json!({ "service": "search", "model": "scripted", "usage": usage });
    let position = ann.post("/v1/quota/consume", &body).await.expect(200).number("/position");
    let unopened = bob.get("/v1/quota").await.expect(200);
    assert_eq!(
        (&unopened.json["exists"], &unopened.json["opened_at"]),
        (&json!(false), &Value::Null)
    );
    tenant.olga.get(&account_path("bob", "")).await.expect(404);
    for client in [ann.clone(), tenant.at_b(&ann)] {
        let shown = client.get("/v1/quota").await.expect(200);
        assert_eq!((&shown.json["exists"], &shown.json["position"]), (&json!(true), &Value::Null));
        assert_eq!(shown.json["balance"]["tokens"], -10);
        assert!(shown.json["opened_at"].is_string());
    }
    tenant.olga.get(&account_path("ann", "")).await.expect(200);
    held.rollback().await.unwrap();
    assert_eq!(account(&ann, position).await.number("/position"), position);
    let lines = tenant.olga.get(&account_path("ann", "/transactions")).await.expect(200);
    assert_eq!(lines.data().len(), 1);
}

#[tokio::test]
async fn nobody_sees_anything_of_anybody_else() {
    let (tenant, other) = (Tenant::new().await, Tenant::new().await);
    let (_, position) = busy(&tenant, "ann").await;
    // The same name in another tenant, and another name in the same tenant.
    for stranger in [other.user("ann"), tenant.user("bob")] {
        let shown = account(&stranger, position).await;
        assert_eq!(
            (&shown.json["exists"], shown.text("/tier").as_str()),
            (&json!(false), "unlimited")
        );
        assert_eq!(ledger(&stranger, position).await, [] as [Value; 0]);
        for path in ["/v1/quota/statistics", "/v1/usage"] {
            let answer = stranger.get(&format!("{path}?min_position={position}")).await.expect(200);
            let none = answer.json["totals"]["requests"] == 0 || answer.json["data"] == json!([]);
            assert!(none, "{}", answer.body);
        }
        stranger.get("/v1/audit/accounts/ann").await.expect(404);
    }
    let listed = other.olga.get("/v1/admin/accounts").await.expect(200);
    assert!(listed.data().is_empty(), "{}", listed.body);
    let tenants = other.olga.get("/v1/usage?scope=tenant").await.expect(200);
    assert_eq!(tenants.json["data"], json!([]));
    let named = other.olga.get("/v1/usage?user_id=ann").await.expect(200);
    assert_eq!(named.json["data"], json!([]));
    // A user may read what happened to their own account.
    tenant.user("ann").get("/v1/audit/accounts/ann").await.expect(200);
}

#[tokio::test]
async fn a_rebuild_makes_the_same_rows_again() {
    let tenant = Tenant::new().await;
    let (ann, position) = busy(&tenant, "ann").await;
    let cluster = shared().await;
    let pool = cluster.pool().await;
    assert_balanced(&ann, position).await;
    let rows = async || {
        let mut rows = Vec::new();
        for table in ["accounts", "transactions", "usage_daily"] {
            let query = format!(
                "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {table} t
                 WHERE tenant_id = $1"
            );
            let row: String =
                sqlx::query_scalar(&query).bind(&tenant.name).fetch_one(&pool).await.unwrap();
            rows.push(row);
        }
        rows
    };
    let before = rows().await;
    assert!(before.iter().all(|rows| !rows.is_empty()));
    for table in ["accounts", "transactions", "usage_daily"] {
        cluster.cli(&["projections", "rebuild", table]).await;
    }
    assert_balanced(&tenant.at_b(&ann), position).await;
    assert_eq!(rows().await, before);
    invariants::nothing_is_parked(&pool).await;
}
