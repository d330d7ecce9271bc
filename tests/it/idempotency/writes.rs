//! Every route that writes, once: the same again elsewhere, then another body.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, token};

use super::KEY;
use crate::support::{new_tenant, shared};

/// A write, and another one for the same key.
struct Write {
    method: Method,
    path: String,
    body: Value,
    /// Another body, or another path where there is none.
    other: (String, Value),
}

fn write(method: Method, path: &str, body: &Value, other: &Value) -> Write {
    let other = (path.to_owned(), other.clone());
    Write { method, path: path.to_owned(), body: body.clone(), other }
}

fn empty(method: Method, path: &str, other: &str) -> Write {
    let (path, other) = (path.to_owned(), (other.to_owned(), Value::Null));
    Write { method, path, body: Value::Null, other }
}

async fn send(client: &Client, method: &Method, path: &str, key: &str, body: &Value) -> Answer {
    let request = client.request(method.clone(), path).header(KEY, key);
    client.send(if body.is_null() { request } else { request.json(body) }).await
}

/// What a repeat must have in common with the first answer.
fn told(answer: &Answer) -> (u16, Option<String>, Vec<Value>) {
    let fields = ["id", "session_id", "turn_id", "message_id", "answer_id", "entry_id", "name"];
    let fields = fields.iter().map(|field| answer.json[field].clone()).collect();
    (answer.status, answer.header("x-colloquy-position").map(str::to_owned), fields)
}

async fn check(nodes: &[Client; 2], key: &str, write: &Write) -> Answer {
    let Write { method, path, body, other } = write;
    let first = send(&nodes[0], method, path, key, body).await;
    assert!((200..300).contains(&first.status), "{method} {path}: {}", first.body);
    assert!(first.header("x-colloquy-position").is_some(), "{method} {path} changed something");
    for node in [&nodes[1], &nodes[0]] {
        let again = send(node, method, path, key, body).await;
        assert_eq!(told(&again), told(&first), "{method} {path}: {}", again.body);
        let repeated = &again.json["repeated"];
        assert!(repeated.is_null() || repeated == true, "{method} {path}: {}", again.body);
    }
    let reused = send(&nodes[1], method, &other.0, key, &other.1).await;
    assert_eq!(reused.status, 422, "{method} {path}: {}", reused.body);
    assert_eq!(reused.code(), "idempotency_key_reused");
    first
}

async fn admins() -> [Client; 2] {
    let (cluster, tenant) = (shared().await, new_tenant());
    let token = Some(token::with_role(&tenant, "root", "admin"));
    ["a", "b"].map(|node| Client::new(cluster.base(node), token.clone()))
}

#[tokio::test]
async fn writes_to_sessions() {
    let nodes = admins().await;
    let (post, delete) = (Method::POST, Method::DELETE);
    let new = write(post.clone(), "/v1/sessions", &json!({ "title": "a" }), &json!({}));
    let session = check(&nodes, "create", &new).await.text("/id");
    let path = format!("/v1/sessions/{session}");
    let change = write(Method::PATCH, &path, &json!({ "title": "b" }), &json!({ "title": "c" }));
    check(&nodes, "change", &change).await;
    let messages = format!("{path}/messages");
    let said = write(
        post.clone(),
        &messages,
        &json!({ "content": "written a single time [[tokens=3]]" }),
        &json!({ "content": "twice" }),
    );
    let turn = check(&nodes, "send", &said).await.text("/turn_id");
    let mut attempts = nodes[0].ended(&turn).await.number("/attempt");
    let again = write(
        post.clone(),
        &format!("/v1/turns/{turn}/retry"),
        &json!({ "settings": { "temperature": 0.5 } }),
        &json!({}),
    );
    let retried = check(&nodes, "retry", &again).await.text("/turn_id");
    attempts += nodes[0].ended(&retried).await.number("/attempt");
    let running = nodes[0].send_message(&session, "is stopped [[tokens=300 pause=50]]").await.id;
    let [stop, stop_other] = [&running, &turn].map(|turn| format!("/v1/turns/{turn}/cancel"));
    check(&nodes, "cancel", &empty(post, &stop, &stop_other)).await;
    nodes[0].ended(&running).await;
    let other = nodes[0].create_session().await;
    let [other, others] =
        [format!("/v1/sessions/{other}"), format!("/v1/sessions/{other}/messages")];
    check(&nodes, "clear", &empty(delete.clone(), &messages, &others)).await;
    check(&nodes, "delete", &empty(delete, &path, &other)).await;
    let calls = shared().await.provider.calls("written a single time [[tokens=3]]").len();
    assert_eq!(i64::try_from(calls).unwrap(), attempts, "sent and retried");
}

#[tokio::test]
async fn completions() {
    let nodes = admins().await;
    let said = |text: &str| json!({ "messages": [{ "role": "user", "content": text }] });
    let write = write(
        Method::POST,
        "/v1/chat/completions",
        &said("completed once for each key"),
        &said("another"),
    );
    let first = check(&nodes, "complete", &write).await;
    let again = nodes[1].post_once("/v1/chat/completions", "complete", &write.body).await;
    assert_eq!(again.body, first.body, "byte for byte");
    assert_eq!(shared().await.provider.calls("completed once for each key").len(), 1);
}

#[tokio::test]
async fn commands() {
    let nodes = admins().await;
    let session = nodes[0].create_session().await;
    let of = |command: &str, more: &Value| {
        let mut body = json!({ "command": command, "session_id": session });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let none = json!({});
    let on_session = [
        ("UpdateSession", json!({ "tags": ["a"] }), json!({ "tags": ["b"] })),
        ("RenameSession", json!({ "title": "a" }), json!({ "title": "b" })),
        ("ChangeSettings", json!({ "settings": { "top_p": 0.5 } }), json!({ "settings": {} })),
        ("SendMessage", json!({ "content": "by a command" }), json!({ "content": "other" })),
    ];
    for (command, fields, other) in on_session {
        let write =
            write(Method::POST, "/v1/commands", &of(command, &fields), &of(command, &other));
        let answer = check(&nodes, command, &write).await;
        if let Some(turn) = answer.json["turn_id"].as_str() {
            nodes[0].ended(turn).await;
        }
    }
    // With the id in the body, and another command for the same one.
    for command in ["ClearHistory", "ArchiveSession", "RestoreSession", "DeleteSession"] {
        let mut body = of(command, &none);
        body["command_id"] = json!(format!("{command} by its id"));
        let first = nodes[0].post("/v1/commands", &body).await.expect(202);
        let again = nodes[1].post("/v1/commands", &body).await.expect(202);
        assert_eq!(told(&again), told(&first), "{command}");
        assert_eq!(again.json["repeated"], true, "{command}");
        let mut other = of("RenameSession", &json!({ "title": "z" }));
        other["command_id"] = body["command_id"].clone();
        let reused = nodes[1].post("/v1/commands", &other).await.expect(422);
        assert_eq!(reused.code(), "idempotency_key_reused", "{command}");
    }
}

#[tokio::test]
async fn writes_to_accounts() {
    let nodes = admins().await;
    let post = Method::POST;
    let accounts = "/v1/admin/accounts";
    let (user, other) = (json!({ "user_id": "u" }), json!({ "user_id": "v" }));
    check(&nodes, "open", &write(post.clone(), accounts, &user, &other)).await;
    let of = |path: &str| format!("{accounts}/u/{path}");
    let why = |reason: &str| json!({ "reason": reason });
    let tokens = |tokens: u32| json!({ "tokens": tokens, "reason": "paid" });
    let writes = [
        ("tier", json!({ "tier": "pro", "reason": "a" }), json!({ "tier": "free", "reason": "a" })),
        ("recharge", tokens(5), tokens(6)),
        ("adjust", tokens(1), tokens(2)),
        ("suspend", why("a"), why("b")),
        ("activate", why("a"), why("b")),
    ];
    for (path, body, other) in writes {
        check(&nodes, path, &write(post.clone(), &of(path), &body, &other)).await;
    }
    let (limit, less) = (
        json!({ "tokens_per_day": 100_000, "reason": "a" }),
        json!({ "tokens_per_day": 90_000, "reason": "a" }),
    );
    check(&nodes, "limits", &write(Method::PATCH, &of("limits"), &limit, &less)).await;
    let consumed = |tokens: u32| {
        json!({ "user_id": "u", "service": "chat", "model": "scripted",
                "usage": { "prompt_tokens": tokens } })
    };
    check(&nodes, "consume", &write(post.clone(), "/v1/quota/consume", &consumed(5), &consumed(6)))
        .await;
    let (day, month) =
        (json!({ "scope": "day", "reason": "a" }), json!({ "scope": "month", "reason": "a" }));
    check(&nodes, "reset", &write(post, &of("reset"), &day, &month)).await;
}

#[tokio::test]
async fn writes_to_the_catalog() {
    let nodes = admins().await;
    let post = Method::POST;
    // The catalog is shared with all tests: names of its own, and nothing is on offer.
    let provider = |retries: u32| {
        json!({ "name": "once", "kind": "openai", "base_url": "http://127.0.0.1:9/v1",
                "status": "disabled", "max_retries": retries })
    };
    let (name, other) = (provider(1), provider(2));
    check(&nodes, "provider", &write(post.clone(), "/v1/admin/providers", &name, &other)).await;
    let (one, two) = (json!({ "max_retries": 3 }), json!({ "max_retries": 4 }));
    let path = "/v1/admin/providers/once";
    check(&nodes, "patch provider", &write(Method::PATCH, path, &one, &two)).await;
    let model = |output: u32| {
        json!({ "name": "once", "provider": "once", "context": 100, "max_output": output,
                "status": "disabled" })
    };
    check(&nodes, "model", &write(post.clone(), "/v1/admin/models", &model(10), &model(20))).await;
    let (one, two) = (json!({ "max_output": 30 }), json!({ "max_output": 40 }));
    check(&nodes, "patch model", &write(Method::PATCH, "/v1/admin/models/once", &one, &two)).await;
    let price =
        |output: &str| json!({ "model": "once", "input_per_1k": "1", "output_per_1k": output });
    check(&nodes, "price", &write(post, "/v1/admin/prices", &price("1"), &price("2"))).await;
}
