//! Going on with an answer that broke off: what each kind of server is sent, and that beginning
//! and rest make one text.

use std::time::Duration;

use domain::Settings;
use domain::catalog::Continuation;
use serde_json::{Value, json};
use workers::provider::openai::OpenAi;
use workers::provider::{CompletionRequest, ErrorClass, Provider as _};

use super::asking::{Seen, config, request, whole};
use super::scripted::{Act, Server, delta, done, finish, sse};

const BEGINNING: &str = "One, two, ";

fn begun(prefix: &str) -> CompletionRequest {
    let options = json!({ "echo": true, "continue_final_message": false, "seed": 7 });
    let settings = Settings {
        max_tokens: Some(20),
        provider_options: options.as_object().unwrap().clone(),
        ..Settings::default()
    };
    CompletionRequest { prefix: Some(prefix.to_owned()), settings, ..request() }
}

fn client(server: &Server, continuation: Continuation) -> OpenAi {
    let mut config = config(&server.base_url);
    config.continuation = continuation;
    OpenAi::new(config).unwrap()
}

/// What the server was sent, and what was seen of its answer.
async fn go_on(continuation: Continuation, prefix: &str, body: String) -> (Value, Seen) {
    let server = Server::start(vec![Act::events(body)]).await;
    let seen = Seen::of(client(&server, continuation).complete(&begun(prefix)).await).await;
    let sent = server.requests().remove(0);
    (serde_json::from_str(sent.split_once("\r\n\r\n").unwrap().1).unwrap(), seen)
}

#[tokio::test]
async fn every_kind_of_server_is_asked_in_its_way() {
    use Continuation as C;
    for (continuation, flagged, flags) in [
        (C::LastMessage, false, None),
        (C::PrefixFlag, true, None),
        (C::PrefixFlagEcho, true, None),
        (C::FinalMessageFlags, false, Some((true, false))),
    ] {
        let (sent, seen) = go_on(continuation, BEGINNING, whole("three")).await;
        let messages = sent["messages"].as_array().unwrap();
        let mut expected = json!({ "role": "assistant", "content": "One, two," });
        if flagged {
            expected["prefix"] = json!(true);
        }
        assert_eq!(messages.last(), Some(&expected), "{continuation:?}");
        let (on, off) = flags.unwrap_or((false, true));
        assert_eq!(sent["continue_final_message"], json!(on), "{continuation:?}");
        assert_eq!(sent.get("add_generation_prompt").is_none(), off, "{continuation:?}");
        assert!(sent.get("echo").is_none(), "the beginning is not asked for again");
        assert_eq!((&sent["seed"], &sent["max_tokens"]), (&json!(7), &json!(17)));
        assert_eq!((seen.text.as_str(), seen.class()), ("three", None));
    }
}

#[tokio::test]
async fn the_rest_joins_the_beginning() {
    let in_pieces = |pieces: &[&str]| {
        let mut frames: Vec<String> = pieces.iter().map(|text| delta(text)).collect();
        frames.extend([finish("stop"), done().to_owned()]);
        sse(&frames.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (continuation, pieces, expected) in [
        (Continuation::LastMessage, vec![" three"], "three"),
        (Continuation::LastMessage, vec![" ", "three"], "three"),
        (Continuation::LastMessage, vec!["One, two, three"], "One, two, three"),
        (Continuation::PrefixFlagEcho, vec!["One, two,", " three"], "three"),
        (Continuation::PrefixFlagEcho, vec!["One,", " four"], "One, four"),
    ] {
        let (_, seen) = go_on(continuation, BEGINNING, in_pieces(&pieces)).await;
        assert_eq!((seen.text.as_str(), seen.class()), (expected, None), "{pieces:?}");
        assert!(seen.finish.is_some());
    }
}

#[tokio::test]
async fn one_token_at_least_is_asked_for() {
    let (sent, _) = go_on(Continuation::LastMessage, &"word ".repeat(100), whole("x")).await;
    assert_eq!(sent["max_tokens"], json!(1));
}

#[tokio::test]
async fn white_space_alone_is_no_beginning() {
    let (sent, seen) = go_on(Continuation::FinalMessageFlags, "\n ", whole("Hello")).await;
    assert_eq!(sent["messages"].as_array().unwrap().len(), 1);
    assert_eq!(sent["continue_final_message"], json!(false), "as the client has it");
    assert_eq!(seen.text, "Hello");
}

#[tokio::test]
async fn a_server_that_cannot_go_on_is_not_asked_to() {
    let server = Server::start(Vec::new()).await;
    let error = client(&server, Continuation::None).complete(&begun("a")).await.err().unwrap();
    assert_eq!(error.class, ErrorClass::Misconfigured);
    assert_eq!(error.message, "scripted was not asked: it cannot go on with an answer");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_rest_that_breaks_off_ends_in_its_error() {
    let body = sse(&[&delta("One, two,"), &delta(" three")]).into_bytes();
    let act = Act::packets(vec![body], Duration::ZERO).then_cut();
    let server = Server::start(vec![act]).await;
    let client = client(&server, Continuation::PrefixFlagEcho);
    let seen = Seen::of(client.complete(&begun(BEGINNING)).await).await;
    assert_eq!((seen.text.as_str(), seen.class()), ("three", Some(ErrorClass::Network)));
}
