//! Following a session: every turn once and whole, from whatever was seen last.

use reqwest::Method;
use tests::{Client, EventStream, SseEvent};

use crate::support::user;

async fn follow(client: &Client, session: &str, last_id: Option<&str>) -> EventStream {
    let request = client.request(Method::GET, &format!("/v1/sessions/{session}/events"));
    let request = match last_id {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    client.open(request).await
}

/// The events up to the end of the next turn.
async fn next_turn(stream: &mut EventStream) -> Vec<SseEvent> {
    let mut events = Vec::new();
    loop {
        let event = stream.next_real().await.unwrap().expect("the stream goes on");
        let ends = event.is_end();
        events.push(event);
        if ends {
            return events;
        }
    }
}

#[tokio::test]
async fn a_follower_goes_on_from_every_event_at_any_node() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let mut stream = follow(&ann, &session, None).await;
    let mut seen = Vec::new();
    for text in ["first [[tokens=6 pause=5]]", "second", "third [[status=400]]"] {
        let turn = ann.send_message(&session, text).await;
        seen.extend(next_turn(&mut stream).await);
        ann.ended(&turn.id).await;
    }
    // Also after the end of a turn, where an idle client usually stands.
    let last_turn = ann.send_message(&session, "and on").await;
    seen.extend(next_turn(&mut stream).await);
    ann.ended(&last_turn.id).await;
    for (at, event) in seen.iter().enumerate() {
        let Some(rest) = seen.get(at + 1..).filter(|rest| !rest.is_empty()) else { continue };
        let mut resumed = follow(&at_b, &session, event.id.as_deref()).await;
        for expected in rest {
            assert_eq!(resumed.next_real().await.unwrap().as_ref(), Some(expected), "after {at}");
        }
    }
    // After the very last one it waits for the next turn.
    let last = seen.last().and_then(|event| event.id.clone());
    let mut resumed = follow(&at_b, &session, last.as_deref()).await;
    let next = ann.send_message(&session, "one more").await;
    assert_eq!(next_turn(&mut resumed).await[0].json()["turn_id"], next.id);
}

#[tokio::test]
async fn a_made_up_position_is_told_so() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    for id in ["@999999999999", "@-5", "@x", "nonsense"] {
        let request = ann.request(Method::GET, &format!("/v1/sessions/{session}/events"));
        let answer = ann.send(request.header("last-event-id", id)).await.expect(400);
        assert_eq!(answer.code(), "invalid_last_event_id");
    }
}
