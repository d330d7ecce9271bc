//! Going on where the connection broke: from every place, at any node, while the turn runs and
//! after it has ended, the same bytes.

use reqwest::Method;
use tests::{Client, SseEvent, Transcript};

use crate::support::user;

/// What follows after `id`.
fn rest<'a>(transcript: &'a Transcript, id: &str) -> &'a [SseEvent] {
    let seen = transcript.events.iter().position(|event| event.id.as_deref() == Some(id));
    &transcript.events[seen.unwrap() + 1..]
}

#[tokio::test]
async fn an_id_that_was_never_sent_is_told_so() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let running = ann.send_message(&session, "made-up ids [[tokens=20 pause=20]]").await;
    let path = format!("/v1/turns/{}/stream", running.id);
    let watch = |id: &str| at_b.request(Method::GET, &path).header("last-event-id", id.to_owned());
    // While it runs nobody knows what it will send; in the end it is clear.
    let streams = [at_b.open(watch("1-1000")).await, at_b.open(watch("2-0")).await];
    for mut stream in streams {
        let mut last = None;
        while let Some(event) = stream.next_real().await.unwrap() {
            last = Some(event);
        }
        let last = last.expect("an event tells what is wrong");
        assert_eq!(last.name, "error");
        assert_eq!(last.json()["code"], "invalid_last_event_id");
    }
    ann.ended(&running.id).await;
    for id in ["1-1000", "2-0", "7-3"] {
        assert_eq!(at_b.send(watch(id)).await.expect(400).code(), "invalid_last_event_id");
    }
}

#[tokio::test]
async fn a_finished_turn_is_resumed_from_every_id() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let whole = ann.say(&session, "resumed after the end [[tokens=40 pause=4]]").await;
    let turn = whole.turn_id();
    ann.ended(&turn).await;
    let (last, others) =
        whole.ids().split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
    assert!(others.len() > 3);
    for id in others {
        let mut resumed = at_b.watch(&turn, Some(id)).await;
        let mut events = Vec::new();
        while let Some(event) = resumed.next_real().await.unwrap() {
            events.push(event);
        }
        assert_eq!(events, rest(&whole, id), "after {id}");
    }
    // An EventSource takes 204 as the word not to come back.
    let request = at_b.request(Method::GET, &format!("/v1/turns/{turn}/stream"));
    let done = at_b.send(request.header("last-event-id", last)).await;
    assert_eq!(done.status, 204);

    let from_start = at_b.request(Method::GET, &format!("/v1/turns/{turn}/stream?from=start"));
    let again = Transcript::of(at_b.open(from_start.header("last-event-id", last)).await).await;
    assert_eq!(again.events, whole.events);
}

#[tokio::test]
async fn reasoning_and_tool_calls_are_resumed_in_the_pieces_they_came_in() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let text = "thinks and calls [[tokens=12 think=6 call=4 pause=40]]";
    let whole = ann.say(&session, text).await;
    let deltas: Vec<_> = whole.events.iter().filter(|event| event.name == "delta").collect();
    let with = |field: &str| deltas.iter().filter(|event| !event.json()[field].is_null()).count();
    assert!(with("reasoning") > 1 && with("tool_calls") > 1, "{deltas:?}");
    let turn = whole.turn_id();
    ann.ended(&turn).await;
    let (_, others) = whole.ids().split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
    for id in others {
        let mut resumed = at_b.watch(&turn, Some(id)).await;
        let mut events = Vec::new();
        while let Some(event) = resumed.next_real().await.unwrap() {
            events.push(event);
        }
        assert_eq!(events, rest(&whole, id), "after {id}");
    }
    let again = Transcript::of(ann.watch(&turn, None).await).await;
    assert_eq!(again.events, whole.events);
}

#[tokio::test]
async fn a_running_turn_is_resumed_at_the_other_node() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let mut stream = ann.stream_message(&session, "hops about [[tokens=60 pause=25]]").await;
    let mut transcript = Transcript::default();
    let mut nodes: [&Client; 2] = [&at_b, &ann];
    for deltas in [0, 1, 2, 7, 15] {
        assert!(transcript.read_deltas(&mut stream, deltas).await, "ended after {deltas}");
        let turn = stream.header("x-colloquy-turn-id").map(str::to_owned);
        let turn = turn.unwrap_or_else(|| transcript.turn_id());
        drop(stream);
        stream = nodes[0].watch(&turn, transcript.last_id()).await;
        nodes.swap(0, 1);
    }
    transcript.read_on(&mut stream).await;
    assert_eq!(transcript.text(), transcript.message_text());
    let whole = Transcript::of(ann.watch(&transcript.turn_id(), None).await).await;
    assert_eq!(whole.events, transcript.events);
}

#[tokio::test]
async fn a_failed_turn_tells_its_failure_to_whoever_comes_back() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let whole = ann.say(&session, "fails in between [[tokens=30 pause=15 cut=20]]").await;
    assert_eq!(whole.end().unwrap().name, "turn.failed");
    let turn = whole.turn_id();
    ann.ended(&turn).await;
    let ids = whole.ids();
    for id in &ids[..ids.len() - 1] {
        let request = at_b.request(Method::GET, &format!("/v1/turns/{turn}/stream"));
        let response = request.header("last-event-id", *id).send().await.unwrap();
        assert_eq!(response.status(), 200, "after {id} the failure was not heard of yet");
        let text = response.text().await.unwrap();
        assert!(text.contains("event: turn.failed"), "after {id}: {text}");
    }
}

#[tokio::test]
async fn many_watchers_see_the_same() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let turn = ann.send_message(&session, "watched by many [[tokens=30 pause=15]]").await;
    let watchers = (0..20).map(|number| {
        let client = if number % 2 == 0 { &ann } else { &at_b };
        let turn = &turn.id;
        async move { Transcript::of(client.watch(turn, None).await).await }
    });
    let seen = futures::future::join_all(watchers).await;
    assert_eq!(seen[0].text(), seen[0].message_text());
    for other in &seen[1..] {
        assert_eq!(other.events, seen[0].events);
    }
}

#[tokio::test]
async fn a_viewer_that_leaves_stops_nothing() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let stream = ann.stream_message(&session, "left alone [[tokens=20 pause=20]]").await;
    let turn = stream.header("x-colloquy-turn-id").unwrap().to_owned();
    drop(stream);
    assert_eq!(ann.ended(&turn).await.text("/status"), "completed");
}
