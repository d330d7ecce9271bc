//! What must be refused: with the right status, a stable code, and without a trace in the log.

use reqwest::Method;
use serde_json::{Value, json};
use tests::client::Client;
use tests::invariants::events_of;
use tests::{Answer, token};

use crate::support::{new_tenant, shared, user};

/// A request that must be refused.
struct Bad {
    method: Method,
    path: String,
    body: String,
    status: u16,
    code: &'static str,
}

fn bad(method: &str, path: &str, body: &impl ToString, status: u16, code: &'static str) -> Bad {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Bad { method, path: path.to_owned(), body: body.to_string(), status, code }
}

async fn assert_refused(client: &Client, bad: &Bad) -> Answer {
    let request = client.request(bad.method.clone(), &bad.path);
    let request = request.header("content-type", "application/json").body(bad.body.clone());
    let answer = client.send(request).await;
    let shown: String = bad.body.chars().take(80).collect();
    let what = format!("{} {} {shown}: {}", bad.method, bad.path, answer.body);
    assert_eq!(answer.status, bad.status, "{what}");
    assert_eq!(answer.code(), bad.code, "{what}");
    let openai = bad.path.starts_with("/v1/chat") || bad.path.starts_with("/v1/models");
    if openai {
        assert!(answer.json["error"]["message"].is_string(), "{what}");
    } else {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(answer.number("/status"), i64::from(bad.status), "{what}");
        assert_eq!(answer.header("x-request-id"), Some(answer.text("/request_id").as_str()));
        assert!(answer.json["title"].is_string() && answer.json["type"].is_string(), "{what}");
        assert!(answer.json["detail"].as_str().is_some_and(|text| text.len() > 5), "{what}");
    }
    answer
}

/// A client of a new tenant, and how many events the tenant has.
async fn observed() -> (Client, String, impl AsyncFn() -> i64) {
    let (cluster, tenant) = (shared().await, new_tenant());
    let client = cluster.client("a", &tenant, "ann");
    let pool = cluster.pool().await;
    let of = tenant.clone();
    (client, tenant, async move || events_of(&pool, &of).await)
}

/// An id that nothing has.
const NOWHERE: &str = "0198c0de-0000-7000-8000-000000000000";

fn bad_sessions() -> Vec<Bad> {
    let post = |body: Value, status, code| bad("POST", "/v1/sessions", &body, status, code);
    vec![
        bad("POST", "/v1/sessions", &"{\"title\": ", 400, "malformed_json"),
        bad("POST", "/v1/sessions", &"nonsense", 400, "malformed_json"),
        post(json!([]), 400, "invalid_body"),
        post(json!({ "title": 5 }), 400, "invalid_body"),
        post(json!({ "titel": "typo" }), 400, "invalid_body"),
        post(json!({ "title": "a\u{0}b" }), 400, "invalid_body"),
        post(json!({ "metadata": { "deep": nested(100) } }), 400, "invalid_body"),
        post(json!({ "title": "x".repeat(201) }), 400, "too_many"),
        post(json!({ "tags": vec!["t"; 33] }), 400, "too_many"),
        post(json!({ "settings": { "model": "none" } }), 404, "model_not_found"),
        post(json!({ "settings": { "temperature": 3 } }), 400, "invalid_setting"),
        post(json!({ "settings": { "temprature": 1 } }), 400, "invalid_body"),
        post(json!({ "settings": ["by", "position"] }), 400, "invalid_body"),
    ]
}

/// Lists in lists.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!([]), |inner, _| json!([inner]))
}

fn bad_messages(path: &str) -> Vec<Bad> {
    let post = |body: Value, status, code| bad("POST", path, &body, status, code);
    let with = |name: &str, value: Value, status, code| {
        let mut body = json!({ "content": "x" });
        body[name] = value;
        post(body, status, code)
    };
    let huge = "x".repeat(9 * 1024 * 1024);
    vec![
        bad("POST", path, &"", 400, "malformed_json"),
        post(json!({}), 400, "invalid_body"),
        post(json!(["by position"]), 400, "invalid_body"),
        with("content", json!(5), 400, "invalid_body"),
        with("content", json!(""), 400, "empty_message"),
        with("content", json!("  \n\t "), 400, "empty_message"),
        with("content", json!([]), 400, "empty_message"),
        with("content", json!([{ "type": "dance" }]), 400, "invalid_body"),
        with("content", json!("x".repeat(2 * 1024 * 1024)), 413, "message_too_large"),
        with("content", json!(huge), 413, "body_too_large"),
        with("role", json!("assistant"), 400, "invalid_body"),
        with("on_busy", json!("wait"), 400, "invalid_body"),
        with("parent_id", json!(NOWHERE), 400, "parent_not_found"),
        with("settings", json!({ "model": "none" }), 404, "model_not_found"),
        with("settings", json!({ "max_tokens": 9_999_999 }), 400, "max_tokens_too_large"),
    ]
}

fn bad_commands() -> Vec<Bad> {
    let post = |body: Value, status, code| bad("POST", "/v1/commands", &body, status, code);
    let send = json!({ "command": "SendMessage", "content": "x" });
    let mut elsewhere = send.clone();
    elsewhere["session_id"] = json!(NOWHERE);
    let of_turn = |name: &str| json!({ "command": name, "turn_id": NOWHERE });
    vec![
        post(json!({ "command": "Dance" }), 400, "unknown_command"),
        post(of_turn("CompleteTurn"), 400, "unknown_command"),
        post(of_turn("CancelTurn"), 404, "turn_not_found"),
        post(send, 400, "invalid_body"),
        post(elsewhere, 404, "session_not_found"),
    ]
}

fn bad_completions() -> Vec<Bad> {
    let path = "/v1/chat/completions";
    let post = |body: Value, status, code| bad("POST", path, &body, status, code);
    let said = json!([{ "role": "user", "content": "x" }]);
    vec![
        bad("POST", path, &"{", 400, "malformed_json"),
        post(json!({ "model": "scripted" }), 400, "invalid_body"),
        post(json!({ "model": "scripted", "messages": [] }), 400, "invalid_messages"),
        post(json!({ "model": "none", "messages": said }), 404, "model_not_found"),
    ]
}

#[tokio::test]
async fn bad_bodies_are_refused_and_leave_nothing() {
    let (ann, _, events) = observed().await;
    let session = ann.create_session().await;
    let before = events().await;
    let messages = bad_messages(&format!("/v1/sessions/{session}/messages"));
    for case in [bad_sessions(), messages, bad_commands(), bad_completions()].iter().flatten() {
        assert_refused(&ann, case).await;
    }
    assert_eq!(events().await, before, "a refused request left something in the log");
    ann.say(&session, "still fine").await.completed();
}

#[tokio::test]
async fn bad_paths_queries_and_headers_are_refused() {
    let (ann, _, events) = observed().await;
    let session = ann.create_session().await;
    let turn = ann.send_message(&session, "for bad ids").await.id;
    ann.ended(&turn).await;
    let before = events().await;
    let session_path = format!("/v1/sessions/{session}");
    let cases = [
        bad("GET", "/v1/nonsense", &"", 404, "route_not_found"),
        bad("GET", "/", &"", 404, "route_not_found"),
        bad("PUT", "/v1/sessions", &"{}", 405, "method_not_allowed"),
        bad("GET", "/v1/commands", &"", 405, "method_not_allowed"),
        bad("GET", "/v1/sessions/not-an-id", &"", 400, "invalid_id"),
        bad("GET", &format!("/v1/sessions/{NOWHERE}"), &"", 404, "session_not_found"),
        bad("GET", &format!("/v1/sessions/{NOWHERE}/messages"), &"", 404, "session_not_found"),
        bad("GET", &format!("/v1/sessions/{NOWHERE}/events"), &"", 404, "session_not_found"),
        bad("GET", &format!("/v1/audit/sessions/{NOWHERE}"), &"", 404, "session_not_found"),
        bad("DELETE", &format!("/v1/sessions/{NOWHERE}"), &"", 404, "session_not_found"),
        bad("PATCH", &format!("/v1/sessions/{NOWHERE}"), &"{}", 404, "session_not_found"),
        bad("GET", &format!("/v1/turns/{NOWHERE}"), &"", 404, "turn_not_found"),
        bad("GET", &format!("/v1/turns/{NOWHERE}/stream"), &"", 404, "turn_not_found"),
        bad("POST", &format!("/v1/turns/{NOWHERE}/cancel"), &"", 404, "turn_not_found"),
        bad("POST", &format!("/v1/turns/{NOWHERE}/retry"), &"", 404, "turn_not_found"),
        bad("GET", "/v1/sessions?limit=0", &"", 400, "invalid_limit"),
        bad("GET", "/v1/sessions?limit=101", &"", 400, "invalid_limit"),
        bad("GET", "/v1/sessions?limit=many", &"", 400, "invalid_query"),
        bad("GET", "/v1/sessions?cursor=zzz", &"", 400, "invalid_cursor"),
        bad("GET", "/v1/sessions?cursor=eyJhIjoxfQ", &"", 400, "invalid_cursor"),
        bad("GET", "/v1/sessions?colour=red", &"", 400, "invalid_query"),
        bad("GET", &format!("{session_path}?min_position=-1"), &"", 400, "invalid_position"),
        bad("GET", &format!("{session_path}?min_position=x"), &"", 400, "invalid_query"),
        bad("GET", &format!("{session_path}/messages?order=random"), &"", 400, "invalid_query"),
        bad("GET", &format!("/v1/turns/{turn}/stream?from=middle"), &"", 400, "invalid_query"),
    ];
    for case in &cases {
        assert_refused(&ann, case).await;
    }
    for id in ["x", "1", "1-", "-1-2", "1-2-3", "99999999999-1"] {
        let request = ann.request(Method::GET, &format!("/v1/turns/{turn}/stream"));
        let answer = ann.send(request.header("last-event-id", id)).await.expect(400);
        assert_eq!(answer.code(), "invalid_last_event_id", "{id}");
    }
    for key in ["", &"k".repeat(256)] {
        let request = ann.request(Method::POST, "/v1/sessions").header("idempotency-key", key);
        let answer = ann.send(request.body("{}")).await.expect(400);
        assert_eq!(answer.code(), "invalid_idempotency_key");
    }
    let far = ann.get(&format!("{session_path}?min_position=999999999")).await.expect(412);
    assert_eq!(far.code(), "position_not_reached");
    assert_eq!(events().await, before);
}

#[tokio::test]
async fn bad_credentials_are_refused() {
    let (ann, tenant, events) = observed().await;
    let claims = |value: Value| token::sign(&value, token::SECRET);
    let exp = 4_102_444_800_u64;
    let unsigned = format!("{}.", token::user(&tenant, "ann").rsplit_once('.').unwrap().0);
    let cases = [
        (None, "missing_token"),
        (Some(String::new()), "missing_token"),
        (Some("nonsense".to_owned()), "invalid_token"),
        (Some("a.b.c".to_owned()), "invalid_token"),
        (Some(unsigned), "invalid_token"),
        (Some(token::expired(&tenant, "ann")), "expired_token"),
        (Some(token::forged(&tenant, "ann")), "invalid_token"),
        (Some(claims(json!({ "sub": "ann", "exp": exp }))), "invalid_token"),
        (Some(claims(json!({ "tenant_id": tenant, "exp": exp }))), "invalid_token"),
        (Some(claims(json!({ "sub": "ann", "tenant_id": tenant }))), "invalid_token"),
        (Some(claims(json!({ "sub": "ann", "tenant_id": "a.b", "exp": exp }))), "invalid_token"),
        (
            Some(claims(json!({ "sub": "system", "tenant_id": tenant, "exp": exp }))),
            "invalid_token",
        ),
        (
            Some(claims(json!({ "sub": "ann", "tenant_id": tenant, "role": 7, "exp": exp }))),
            "invalid_token",
        ),
    ];
    for (token, code) in cases {
        let shown = format!("{token:?}");
        let stranger = ann.with_token(token);
        let answer = stranger.post("/v1/sessions", &json!({})).await;
        assert_eq!(answer.status, 401, "{shown}: {}", answer.body);
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        let code_given = answer.code();
        let missing = code == "missing_token" && code_given == "invalid_token";
        assert!(code_given == code || missing, "{shown}: {}", answer.body);
    }
    assert_eq!(events().await, 0);
}

#[tokio::test]
async fn nobody_sees_or_touches_anothers_session() {
    let (ann, at_b) = user().await;
    let (cluster, other_tenant) = (shared().await, new_tenant());
    let session = ann.create_session().await;
    let transcript = ann.say(&session, "for ann's eyes only").await;
    let turn = transcript.turn_id();
    let position = ann.ended(&turn).await.number("/position");
    let pool = cluster.pool().await;
    let tenant: String =
        sqlx::query_scalar("SELECT tenant_id FROM events WHERE aggregate_id = $1 LIMIT 1")
            .bind(&session)
            .fetch_one(&pool)
            .await
            .unwrap();
    let before = events_of(&pool, &tenant).await;
    let strangers = [
        cluster.client("b", &tenant, "bob"),
        cluster.client("a", &other_tenant, "ann"),
        at_b.with_token(Some(token::with_role(&other_tenant, "root", "admin"))),
    ];
    let at = format!("/v1/sessions/{session}");
    for stranger in &strangers {
        for (method, path, body) in [
            ("GET", at.clone(), ""),
            ("GET", format!("{at}?min_position={position}"), ""),
            ("PATCH", at.clone(), "{\"title\": \"mine\"}"),
            ("DELETE", at.clone(), ""),
            ("GET", format!("{at}/messages"), ""),
            ("POST", format!("{at}/messages"), "{\"content\": \"hi\"}"),
            ("DELETE", format!("{at}/messages"), ""),
            ("GET", format!("{at}/events"), ""),
            ("GET", format!("/v1/audit/sessions/{session}"), ""),
            ("GET", format!("/v1/turns/{turn}"), ""),
            ("GET", format!("/v1/turns/{turn}/stream"), ""),
            ("POST", format!("/v1/turns/{turn}/cancel"), ""),
            ("POST", format!("/v1/turns/{turn}/retry"), ""),
        ] {
            let code =
                if path.contains("/turns/") { "turn_not_found" } else { "session_not_found" };
            let case = bad(method, &path, &body, 404, code);
            let answer = assert_refused(stranger, &case).await;
            assert!(!answer.body.contains("ann's"), "{}", answer.body);
        }
        assert!(stranger.get("/v1/sessions").await.expect(200).data().is_empty());
        let chat = json!({
            "session_id": session, "model": "scripted",
            "messages": [{ "role": "user", "content": "hi" }],
        });
        stranger.post("/v1/chat/completions", &chat).await.expect(404);
    }
    assert_eq!(events_of(&pool, &tenant).await, before);
    // The tenant's own administrator does.
    let admin = at_b.with_token(Some(token::with_role(&tenant, "boss", "admin")));
    assert_eq!(admin.get(&at).await.expect(200).text("/user_id"), "ann");
}
