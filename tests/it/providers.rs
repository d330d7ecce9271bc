//! Providers that fail: before the first word they are asked again, after it there is another
//! attempt, and whatever happens every turn ends once and the session goes on.

use std::time::Duration;

use tests::client::Client;
use tests::provider::Ended;
use tests::{Transcript, eventually};

use crate::support::{SOON, shared, user};

/// The code of the error that the turn on `text` fails with.
async fn failure(client: &Client, text: &str) -> (Transcript, String) {
    let session = client.create_session().await;
    let transcript = client.say(&session, text).await;
    let end = transcript.end().unwrap();
    assert_eq!(end.name, "turn.failed", "{text}: {end:?}");
    let code = end.json()["error"]["code"].as_str().unwrap().to_owned();
    let shown = client.ended(&transcript.turn_id()).await;
    assert_eq!(shown.text("/status"), "failed");
    assert_eq!(shown.text("/error/code"), code);
    // The session is free for the next turn.
    let again = client.say(&session, "and now?").await;
    again.completed();
    (transcript, code)
}

#[tokio::test]
async fn a_refusal_that_passes_is_not_noticed() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    for fault in ["status=500", "status=429", "status=503", "cut=0", "error=0"] {
        let text = format!("passing fault [[tokens=5 times=1 {fault}]]");
        let transcript = ann.say(&session, &text).await;
        assert_eq!(transcript.text(), transcript.message_text(), "{fault}");
        let calls = shared().await.provider.calls(&text);
        assert_eq!(calls.len(), 2, "{fault}");
        assert_eq!(transcript.text(), calls[1].text, "{fault}");
    }
}

#[tokio::test]
async fn a_refusal_that_stays_fails_the_turn_with_a_code() {
    let (ann, _) = user().await;
    for (fault, expected) in [
        ("status=429", "provider_rate_limited"),
        ("status=500", "provider_unavailable"),
        ("status=400", "provider_rejected"),
    ] {
        let (transcript, code) = failure(&ann, &format!("staying fault [[{fault}]]")).await;
        assert_eq!(code, expected, "{fault}");
        assert_eq!(transcript.deltas(), 0, "{fault}");
    }
    let calls = shared().await.provider.calls("staying fault [[status=400]]");
    assert_eq!(calls.len(), 1, "what was rejected is not asked again");
}

#[tokio::test]
async fn an_answer_that_breaks_off_again_and_again_fails_the_turn() {
    let (ann, _) = user().await;
    for fault in ["cut=6", "error=6", "malformed=6"] {
        let text = format!("breaks off [[tokens=12 pause=10 {fault}]]");
        let (transcript, code) = failure(&ann, &text).await;
        assert!(code.starts_with("provider_"), "{fault}: {code}");
        let calls = shared().await.provider.calls(&text);
        assert_eq!(calls.len(), 3, "{fault}");
        assert_eq!(transcript.text(), calls[2].text, "{fault}: its words were seen");
        assert!(calls.iter().all(|call| call.tokens == 6), "{fault}");
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_given_up() {
    let (ann, at_b) = user().await;
    let provider = &shared().await.provider;
    let hangs = failure(&ann, "says nothing [[hang]]");
    let stalls = failure(&at_b, "falls silent [[tokens=9 pause=5 stall=4]]");
    let ((_, hangs), (stalled, stalls)) = tokio::join!(hangs, stalls);
    assert_eq!(hangs, "provider_timeout");
    assert_eq!(stalls, "provider_timeout");
    assert_eq!(stalled.text(), provider.calls("falls silent")[2].text);
    eventually("the provider is hung up on", SOON, async || {
        provider.calls("falls silent").iter().all(|call| call.ended == Ended::Abandoned)
    })
    .await;
}

#[tokio::test]
async fn a_long_wait_for_the_first_word_is_bridged_by_signs_of_life() {
    let (ann, _) = user().await;
    let session = ann.create_session().await;
    let started = std::time::Instant::now();
    let transcript = ann.say(&session, "thinks first [[tokens=3 first=2000]]").await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(transcript.text(), transcript.message_text());
}
