//! Lists in pages, and reads that wait for a write of another node.

use serde_json::json;
use tests::Client;

use crate::support::user;

/// The ids of all entries, page by page, and the sizes of the pages.
async fn pages(client: &Client, path: &str, limit: usize) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut sizes) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}limit={limit}{cursor}")).await.expect(200);
        sizes.push(page.data().len());
        ids.extend(page.data().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        assert_eq!(page.json["has_more"], page.json["next_cursor"].is_string());
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (ids, sizes),
        }
    }
}

#[tokio::test]
async fn sessions_come_newest_first_in_pages() {
    let (ann, at_b) = user().await;
    let mut created = Vec::new();
    let mut position = 0;
    for number in 0..25 {
        let tags = if number % 5 == 0 { json!(["fifth"]) } else { json!([]) };
        let body = json!({ "title": format!("session {number}"), "tags": tags });
        let answer = ann.post("/v1/sessions", &body).await.expect(201);
        position = answer.number("/position");
        created.push(answer.text("/id"));
    }
    created.reverse();
    let (ids, sizes) = pages(&at_b, &format!("/v1/sessions?min_position={position}&"), 10).await;
    assert_eq!(ids, created);
    assert_eq!(sizes, [10, 10, 5]);
    let (ids, sizes) = pages(&at_b, "/v1/sessions?tag=fifth&", 5).await;
    assert_eq!(ids, created.iter().rev().step_by(5).rev().cloned().collect::<Vec<_>>());
    assert_eq!(sizes, [5], "a full last page has no successor");
    // The oldest one moves to the front when something happens in it.
    let oldest = created.last().unwrap();
    let change = json!({ "title": "moved", "archived": true });
    let moved = ann.patch(&format!("/v1/sessions/{oldest}"), &change).await.expect(200);
    let position = moved.number("/position");
    let list = format!("/v1/sessions?min_position={position}&limit=1");
    assert_eq!(at_b.get(&list).await.expect(200).text("/data/0/id"), *oldest);
    let archived = at_b.get("/v1/sessions?archived=true").await.expect(200);
    assert_eq!(archived.data().len(), 1);
    assert_eq!(
        at_b.get("/v1/sessions?archived=false&limit=100").await.expect(200).data().len(),
        24
    );
}

#[tokio::test]
async fn messages_come_in_order_in_pages() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    for number in 0..13 {
        ann.say(&session, &format!("message {number} [[tokens=2]]")).await.completed();
    }
    let position = ann.send_message(&session, "last one [[tokens=2]]").await.position;
    let path = format!("/v1/sessions/{session}/messages?");
    let waited = at_b.get(&format!("{path}min_position={position}")).await.expect(200);
    assert_eq!(waited.data().len(), 20, "20 is the page size where none is asked for");
    let (ids, sizes) = pages(&at_b, &path, 10).await;
    assert_eq!(sizes[..2], [10, 10]);
    assert!(ids.len() >= 27);
    let (mut backwards, _) = pages(&at_b, &format!("{path}order=desc&"), 10).await;
    backwards.reverse();
    assert_eq!(backwards[..ids.len()], ids);
    let texts = at_b.history(&session, position).await;
    let asked: Vec<_> = texts.iter().filter(|(role, _)| role == "user").collect();
    for (number, (_, text)) in asked.iter().take(13).enumerate() {
        assert_eq!(*text, format!("message {number} [[tokens=2]]"));
    }
}

#[tokio::test]
async fn what_was_written_at_one_node_is_read_at_the_other() {
    let (ann, at_b) = user().await;
    for number in 0..20 {
        let session = ann.create_session().await;
        let turn = ann.send_message(&session, &format!("mine {number} [[tokens=1]]")).await;
        let shown =
            at_b.get(&format!("/v1/turns/{}?min_position={}", turn.id, turn.position)).await;
        assert_eq!(shown.expect(200).text("/session_id"), session);
        let history = at_b.history(&session, turn.position).await;
        assert_eq!(history[0].1, format!("mine {number} [[tokens=1]]"));
        // Also without a position: what isn't there yet is waited for.
        let other = ann.create_session().await;
        at_b.get(&format!("/v1/sessions/{other}")).await.expect(200);
    }
}

#[tokio::test]
async fn the_past_can_be_asked_for() {
    let (ann, at_b) = user().await;
    let created = ann.post("/v1/sessions", &json!({ "title": "one" })).await.expect(201);
    let (session, first) = (created.text("/id"), created.number("/position"));
    let path = format!("/v1/sessions/{session}");
    let second = ann.patch(&path, &json!({ "title": "two" })).await.expect(200);
    let second = second.number("/position");
    ann.patch(&path, &json!({ "title": "three" })).await.expect(200);
    let audit = async |query: &str| {
        at_b.get(&format!("/v1/audit/sessions/{session}{query}")).await.expect(200)
    };
    for (as_of, title, version) in [(first, "one", 1), (second, "two", 2), (i64::MAX, "three", 3)] {
        let past = audit(&format!("?as_of={as_of}")).await;
        assert_eq!(past.text("/state/title"), title);
        assert_eq!(past.number("/version"), version);
        assert_eq!(
            past.json["events"].as_array().unwrap().len(),
            usize::try_from(version).unwrap()
        );
    }
    let whole = audit("").await;
    let names: Vec<&str> = whole.json["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["SessionCreated", "SessionRenamed", "SessionRenamed"]);
    let page = audit("?after=1&limit=1").await;
    assert_eq!(page.number("/events/0/sequence"), 2);
    assert_eq!(page.json["has_more"], true);
    let before = at_b.get(&format!("/v1/audit/sessions/{session}?as_of={}", first - 1)).await;
    before.expect(404);
}
