//! Commands that meet each other: repeats, a busy session, stopping, trying again.

use reqwest::Method;
use serde_json::{Value, json};
use tests::client::turn;
use tests::provider::Ended;
use tests::{Answer, Client, Transcript, eventually};

use crate::support::{SOON, shared, user};

async fn send_with_key(client: &Client, session: &str, key: &str, text: &str) -> Answer {
    let path = format!("/v1/sessions/{session}/messages");
    let request = client.request(Method::POST, &path).header("idempotency-key", key);
    client.send(request.json(&json!({ "content": text }))).await
}

#[tokio::test]
async fn a_repeat_has_no_second_effect_on_any_node() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let text = "sent more than once [[tokens=5 pause=10]]";
    let first = send_with_key(&ann, &session, "key-1", text).await.expect(202);
    assert_eq!(first.json["repeated"], false);
    for client in [&ann, &at_b] {
        let again = send_with_key(client, &session, "key-1", text).await.expect(202);
        assert_eq!(turn(&again), turn(&first));
        assert_eq!(again.json["repeated"], true);
    }
    ann.ended(&turn(&first).id).await;
    // Also when the session has long moved on, and on a connection that wants the stream.
    ann.say(&session, "moving on").await;
    let path = format!("/v1/sessions/{session}/messages");
    let request = at_b.request(Method::POST, &path).header("idempotency-key", "key-1");
    let stream = at_b.open(request.json(&json!({ "content": text }))).await;
    let joined = Transcript::of(stream).await;
    assert_eq!(joined.turn_id(), turn(&first).id);
    assert_eq!(joined.text(), joined.message_text());
    assert_eq!(shared().await.provider.calls("sent more than once").len(), 1);
    assert_eq!(ann.history(&session, 0).await.len(), 4);

    let other = send_with_key(&at_b, &session, "key-1", "something else").await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let elsewhere = at_b.create_session().await;
    let other = send_with_key(&at_b, &elsewhere, "key-1", text).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
}

#[tokio::test]
async fn repeats_at_the_same_moment_make_one_turn() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let text = "sent at once [[tokens=3]]";
    let sends = (0..10).map(|number| {
        let client = if number % 2 == 0 { &ann } else { &at_b };
        send_with_key(client, &session, "at-once", text)
    });
    let answers = futures::future::join_all(sends).await;
    let turns: Vec<_> = answers.into_iter().map(|answer| turn(&answer.expect(202))).collect();
    assert!(turns.iter().all(|other| *other == turns[0]), "{turns:?}");
    ann.ended(&turns[0].id).await;
    assert_eq!(shared().await.provider.calls("sent at once").len(), 1);

    let create = |_| async {
        let request = ann.request(Method::POST, "/v1/sessions").header("idempotency-key", "new");
        ann.send(request.json(&json!({ "title": "once" }))).await.expect(201).text("/id")
    };
    let created = futures::future::join_all((0..5).map(create)).await;
    assert!(created.iter().all(|id| *id == created[0]), "{created:?}");
}

#[tokio::test]
async fn a_busy_session_refuses_or_is_interrupted() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let mut stream = ann.stream_message(&session, "talks on [[tokens=400 pause=25]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 2).await);
    let turn_id = transcript.turn_id();

    let refused = at_b.post(&path, &json!({ "content": "me too" })).await.expect(409);
    assert_eq!(refused.code(), "turn_in_progress");
    assert!(refused.text("/detail").contains(&turn_id), "{}", refused.body);
    assert_eq!(ann.delete(&path).await.expect(409).code(), "turn_in_progress");

    let body = json!({ "content": "enough of that", "on_busy": "interrupt" });
    let next = turn(&at_b.post(&path, &body).await.expect(202));
    transcript.read_on(&mut stream).await;
    let end = transcript.end().unwrap();
    assert_eq!(end.name, "turn.cancelled");
    assert_eq!(ann.ended(&next.id).await.text("/status"), "completed");
    // What was said until then stays in the conversation.
    let prompt = shared().await.provider.calls("enough of that")[0].prompt();
    assert_eq!(prompt[1], ("assistant".to_owned(), transcript.text().to_owned()));
    assert_eq!(prompt[2].1, "enough of that");
}

#[tokio::test]
async fn a_turn_is_cancelled_from_another_device() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let mut stream = ann.stream_message(&session, "is cancelled [[tokens=400 pause=25]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 2).await);
    let turn = transcript.turn_id();
    let path = format!("/v1/turns/{turn}/cancel");
    at_b.post_empty(&path).await.expect(202);
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.end().unwrap().name, "turn.cancelled");
    let shown = at_b.ended(&turn).await;
    assert_eq!(shown.text("/status"), "cancelled");
    assert_eq!(tests::transcript::content_text(&shown.json["content"]), transcript.text());
    let provider = &shared().await.provider;
    eventually("the provider is hung up on", SOON, async || {
        provider.calls("is cancelled")[0].ended == Ended::Abandoned
    })
    .await;
    let call = &provider.calls("is cancelled")[0];
    assert!(call.text.starts_with(transcript.text()) && call.tokens < 200);
    // Once more does nothing.
    at_b.post_empty(&path).await.expect(202);
    assert_eq!(ann.ended(&turn).await.json, shown.json);
    ann.say(&session, "goes on").await.completed();
}

#[tokio::test]
async fn an_answer_is_tried_again() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let text = "once more [[tokens=6 cut=3 times=3]]";
    let failed = ann.say(&session, text).await;
    assert_eq!(failed.end().unwrap().name, "turn.failed");
    let retry = async |turn: &str, body: &Value| {
        at_b.post(&format!("/v1/turns/{turn}/retry"), body).await.expect(202)
    };
    let second = at_b.post_empty(&format!("/v1/turns/{}/retry", failed.turn_id())).await;
    let second = second.expect(202).text("/turn_id");
    assert_eq!(ann.ended(&second).await.text("/status"), "completed");
    // Also a good answer, with other settings; both then stand in the history.
    let body = json!({ "settings": { "temperature": 1.5 } });
    let third = retry(&second, &body).await.text("/turn_id");
    let third = ann.ended(&third).await;
    let calls = shared().await.provider.calls("once more");
    assert_eq!(calls.len(), 5, "three attempts were broken off");
    assert_eq!(calls[4].body["temperature"], 1.5);
    assert_eq!(calls[4].prompt(), [("user".to_owned(), text.to_owned())]);
    let history = ann.history(&session, third.number("/position")).await;
    assert_eq!(history.iter().filter(|(role, _)| role == "assistant").count(), 2);
    // The conversation goes on from the newest answer.
    ann.say(&session, "after the retries").await;
    let prompt = shared().await.provider.calls("after the retries")[0].prompt();
    assert_eq!(prompt[1].1, calls[4].text);
}

#[tokio::test]
async fn a_session_is_changed_put_away_taken_back_and_deleted() {
    let (ann, at_b) = user().await;
    let body = json!({ "title": "first", "tags": ["x"], "metadata": { "k": [1, "two"] } });
    let created = ann.post("/v1/sessions", &body).await.expect(201);
    let session = created.text("/id");
    assert_eq!(created.header("location"), Some(format!("/v1/sessions/{session}").as_str()));
    let path = format!("/v1/sessions/{session}");
    let change = json!({ "title": null, "tags": ["y", "z"], "settings": { "max_tokens": 5 } });
    let changed = ann.patch(&path, &change).await.expect(200);
    assert_eq!(changed.json["title"], Value::Null);
    let shown = at_b.get(&format!("{path}?min_position={}", changed.number("/position"))).await;
    let shown = shown.expect(200);
    for (field, expected) in [
        ("tags", json!(["y", "z"])),
        ("settings", json!({ "max_tokens": 5 })),
        ("metadata", json!({ "k": [1, "two"] })),
        ("status", json!("active")),
    ] {
        assert_eq!(shown.json[field], expected);
        assert_eq!(changed.json[field], expected);
    }
    let archived = ann.patch(&path, &json!({ "archived": true })).await.expect(200);
    assert_eq!(archived.text("/status"), "archived");
    let message = json!({ "content": "hello?" });
    let refused = ann.post(&format!("{path}/messages"), &message).await.expect(409);
    assert_eq!(refused.code(), "session_archived");
    ann.patch(&path, &json!({ "archived": false })).await.expect(200);
    ann.say(&session, "back again").await.completed();

    let cleared = ann.delete(&format!("{path}/messages")).await.expect(204);
    let position: i64 = cleared.header("x-colloquy-position").unwrap().parse().unwrap();
    assert!(at_b.history(&session, position).await.is_empty());
    let deleted = ann.delete(&path).await.expect(204);
    let position = deleted.header("x-colloquy-position").unwrap().to_owned();
    at_b.get(&format!("{path}?min_position={position}")).await.expect(404);
    ann.post(&format!("{path}/messages"), &message).await.expect(404);
    ann.delete(&path).await.expect(204);
}

#[tokio::test]
async fn what_another_node_changed_is_no_longer_so() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}");
    // B knows the session as it is now …
    at_b.patch(&path, &json!({ "title": "X", "settings": { "temperature": 0.1 } }))
        .await
        .expect(200);
    // … and A changes it.
    ann.patch(&path, &json!({ "title": "Y", "settings": { "temperature": 0.9 } }))
        .await
        .expect(200);
    ann.say(&session, "a word").await;
    ann.patch(&path, &json!({ "archived": true })).await.expect(200);

    let change = json!({ "title": "X", "settings": { "temperature": 0.1 }, "archived": false });
    let changed = at_b.patch(&path, &change).await.expect(200);
    assert_eq!(changed.text("/title"), "X");
    assert_eq!(changed.text("/status"), "active");
    assert_eq!(changed.json.pointer("/settings/temperature"), Some(&json!(0.1)));
    let cleared = at_b.delete(&format!("{path}/messages")).await.expect(204);
    let position = cleared.header("x-colloquy-position").expect("something was cleared");
    assert!(ann.history(&session, position.parse().unwrap()).await.is_empty());
}

#[tokio::test]
async fn a_repeat_with_nothing_left_to_change_has_the_first_answer() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let turn = ann.send_message(&session, "is stopped [[tokens=100 pause=50]]").await;
    let cancel = |client: &tests::Client| {
        let path = format!("/v1/turns/{}/cancel", turn.id);
        client.request(reqwest::Method::POST, &path).header("idempotency-key", "stop it")
    };
    let first = ann.send(cancel(&ann)).await.expect(202);
    ann.ended(&turn.id).await;
    for client in [&ann, &at_b] {
        let again = client.send(cancel(client)).await.expect(202);
        assert_eq!(again.number("/position"), first.number("/position"));
        assert_eq!(again.json["repeated"], true);
    }
}
