//! One turn after the other, as it should be: the text is the same wherever it can be seen,
//! every node shows it, and nothing is held back.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tests::Transcript;
use tests::client::turn;
use tests::invariants::same_text_everywhere;

use crate::support::{shared, user};

#[tokio::test]
async fn a_turn_is_streamed_and_its_text_is_the_same_everywhere() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let question = "marker-first [[tokens=40 pause=5]]";
    let stream = ann.stream_message(&session, question).await;
    let turn_id = stream.header("x-colloquy-turn-id").unwrap().to_owned();
    let position: i64 = stream.header("x-colloquy-position").unwrap().parse().unwrap();
    assert!(position > 0);
    let transcript = Transcript::of(stream).await;

    let names: Vec<&str> = transcript.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names[0], "turn.started");
    assert_eq!(*names.last().unwrap(), "turn.completed");
    assert!(transcript.deltas() > 1, "an answer that takes 200 ms comes in pieces");
    let ids: Vec<String> = (0..names.len()).map(|sequence| format!("1-{sequence}")).collect();
    assert_eq!(transcript.ids(), ids);
    assert_eq!(transcript.turn_id(), turn_id);

    let end = transcript.completed();
    let calls = shared().await.provider.calls("marker-first");
    assert_eq!(calls.len(), 1);
    let usage = calls[0].usage.unwrap();
    assert_eq!(transcript.text(), calls[0].text);
    assert_eq!(transcript.message_text(), calls[0].text);
    assert_eq!(end["finish_reason"], "stop");
    assert_eq!(end["usage"]["prompt_tokens"], usage.prompt);
    assert_eq!(end["usage"]["completion_tokens"], usage.completion);
    assert_eq!(end["usage"]["estimated"], false);
    assert!(end["timing"]["total_ms"].as_u64().unwrap() >= 190, "{end}");
    same_text_everywhere(&ann, &session, &turn_id, transcript.text()).await;
    same_text_everywhere(&at_b, &session, &turn_id, transcript.text()).await;
}

#[tokio::test]
async fn a_turn_accepted_at_one_node_is_watched_at_another() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let turn = ann.send_message(&session, "watched from afar [[tokens=20 pause=20]]").await;
    let (here, there) = tokio::join!(ann.watch(&turn.id, None), at_b.watch(&turn.id, None));
    let (here, there) = tokio::join!(Transcript::of(here), Transcript::of(there));
    assert_eq!(here.events, there.events);
    assert_eq!(here.text(), here.message_text());
    // At rest, from what is stored.
    let later = Transcript::of(at_b.watch(&turn.id, None).await).await;
    assert_eq!(later.events, here.events);
}

#[tokio::test]
async fn a_conversation_keeps_its_context() {
    let (ann, _) = user().await;
    let settings = json!({ "model": "other", "system_prompt": "Be brief.", "temperature": 0.5 });
    let body = json!({ "title": "context", "settings": settings });
    let session = ann.post("/v1/sessions", &body).await.expect(201).text("/id");
    let first = ann.say(&session, "context one").await;
    let second = ann.say(&session, "context two").await;
    ann.say(&session, "context three").await;

    let calls = shared().await.provider.calls("context three");
    let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    assert_eq!(
        calls[0].prompt(),
        [
            pair("system", "Be brief."),
            pair("user", "context one"),
            pair("assistant", first.text()),
            pair("user", "context two"),
            pair("assistant", second.text()),
            pair("user", "context three"),
        ]
    );
    assert_eq!(calls[0].body["model"], "other");
    assert_eq!(calls[0].body["temperature"], 0.5);
    assert_eq!(calls[0].body["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn a_message_may_answer_an_earlier_one_and_so_make_a_branch() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/messages");
    let first = ann.say(&session, "branch root").await;
    ann.say(&session, "branch left").await;
    let parent = first.completed()["message"]["id"].clone();
    let body = json!({ "content": "branch right", "parent_id": parent });
    let right = turn(&ann.post(&path, &body).await.expect(202));
    ann.ended(&right.id).await;
    let prompt = shared().await.provider.calls("branch right")[0].prompt();
    let texts: Vec<&str> = prompt.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["branch root", first.text(), "branch right"]);
}

#[tokio::test]
async fn the_first_words_are_not_held_back() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    ann.say(&session, "warm up").await;
    let mut stream = ann.stream_message(&session, "slow speaker [[tokens=3 pause=700]]").await;
    let mut transcript = Transcript::default();
    assert!(transcript.read_deltas(&mut stream, 1).await);
    let first = Instant::now();
    let said = transcript.text().to_owned();
    transcript.read_on(&mut stream).await;
    let between = first.elapsed();
    // The second word follows 700 ms after the first; had that waited for it, all would have
    // come together.
    assert!(between > Duration::from_secs(1), "{between:?}");
    let call = &shared().await.provider.calls("slow speaker")[0];
    assert!(said.starts_with('#') && said.len() < call.text.len());
    assert_eq!(transcript.text(), call.text);
}

#[tokio::test]
async fn a_provider_that_counts_nothing_gives_an_estimate() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let end = ann.say(&session, "count it yourself [[tokens=30 no-usage]]").await.completed();
    assert_eq!(end["usage"]["estimated"], true);
    let tokens = end["usage"]["completion_tokens"].as_u64().unwrap();
    assert!((15..=120).contains(&tokens), "{end}");
    assert!(end["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn all_turns_of_a_session_are_followed_on_one_stream() {
    let (ann, at_b) = user().await;
    let session = ann.create_session().await;
    let path = format!("/v1/sessions/{session}/events");
    let position = ann.say(&session, "before").await.completed()["position"].clone();
    let request = at_b.request(Method::GET, &format!("{path}?min_position={position}"));
    let mut events = at_b.open(request).await;
    for text in ["followed one [[tokens=5]]", "followed two [[tokens=5]]"] {
        let turn = ann.send_message(&session, text).await;
        let mut transcript = Transcript::default();
        while transcript.end().is_none() {
            transcript.take(events.next_real().await.unwrap().unwrap());
        }
        assert_eq!(transcript.turn_id(), turn.id);
        assert_eq!(transcript.text(), transcript.message_text());
        assert!(transcript.ids().iter().all(|id| id.starts_with(&format!("{}:1-", turn.id))));
    }
}

#[tokio::test]
async fn every_command_goes_by_the_one_route_too() {
    let (ann, _) = user().await;
    let command = async |body: serde_json::Value| ann.post("/v1/commands", &body).await.expect(202);
    let created = command(json!({ "command": "CreateSession", "title": "by command" })).await;
    let session = created.text("/session_id");
    let sent = json!({ "command": "SendMessage", "session_id": session, "content": "by command" });
    let sent = turn(&command(sent).await);
    ann.ended(&sent.id).await;
    let renamed =
        json!({ "command": "RenameSession", "session_id": session, "title": "another name" });
    let position = command(renamed).await.number("/position");
    let shown = ann.get(&format!("/v1/sessions/{session}?min_position={position}")).await;
    assert_eq!(shown.expect(200).text("/title"), "another name");
    command(json!({ "command": "ClearHistory", "session_id": session })).await;
    let archived = json!({ "command": "ArchiveSession", "session_id": session });
    command(archived).await;
    let refused = json!({ "command": "SendMessage", "session_id": session, "content": "hello?" });
    let refused = ann.post("/v1/commands", &refused).await.expect(409);
    assert_eq!(refused.code(), "session_archived");
    let gone = command(json!({ "command": "DeleteSession", "session_id": session })).await;
    let path = format!("/v1/sessions/{session}?min_position={}", gone.number("/position"));
    ann.get(&path).await.expect(404);
}
