//! One test a fault, and the ways that are none.

use std::time::{Duration, Instant};

use domain::FinishReason;
use futures::StreamExt as _;
use workers::provider::openai::OpenAi;
use workers::provider::{ErrorClass, Provider as _};

use super::asking::{
    PATIENCE, ask, client, client_at, config, hasty, request, retrying, usage, whole,
};
use super::scripted::{Act, Server, delta, done, finish, sse};

#[tokio::test]
async fn an_answer_streams_and_the_connection_is_used_again() {
    let server = Server::start(vec![
        Act::events(whole("Hello")),
        Act::events(whole("again")),
        Act::events(whole("and again")),
    ])
    .await;
    let client = client(&server);
    let seen = ask(&client).await;
    assert_eq!((seen.text.as_str(), seen.finish), ("Hello", Some(FinishReason::Stop)));
    assert_eq!(seen.usage.map(|usage| usage.total_tokens()), Some(5));
    assert!(seen.error.is_none());
    assert_eq!(ask(&client).await.text, "again");
    assert_eq!(ask(&client).await.text, "and again");
    assert_eq!(server.connections(), 1);
    let sent = server.requests();
    assert!(sent[0].starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", sent[0]);
    assert!(sent[0].to_lowercase().contains("authorization: bearer sk-secret\r\n"));
    assert!(sent[0].contains(r#""stream_options":{"include_usage":true}"#));
}

#[tokio::test]
async fn characters_may_be_split_between_packets() {
    let body = whole("é漢😀");
    let pieces = body.bytes().map(|byte| vec![byte]).collect();
    let server = Server::start(vec![Act::packets(pieces, Duration::ZERO)]).await;
    assert_eq!(ask(&client(&server)).await.text, "é漢😀");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let busy =
        Act::status(429, r#"{"error":{"message":"slow down"}}"#).header("retry-after-ms: 30");
    let broken = Act::status(500, "oops");
    let server = Server::start(vec![busy, broken, Act::events(whole("ok"))]).await;
    let start = Instant::now();
    assert_eq!(ask(&retrying(&server)).await.text, "ok");
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_broken_server_is_told_as_such() {
    let body = r#"{"error":{"message":"key sk-secret is fine, we are not"}}"#;
    let server = Server::start((0..3).map(|_| Act::status(500, body)).collect()).await;
    let error = ask(&retrying(&server)).await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Unavailable);
    assert_eq!(
        error.message,
        "scripted answered 500 Internal Server Error: key *** is fine, we are not"
    );
}

#[tokio::test]
async fn nobody_there_is_told_without_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:pass@{}/v1?key=hush", listener.local_addr().unwrap());
    drop(listener);
    let error = ask(&client_at(&url)).await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Network);
    assert!(error.message.starts_with("scripted cannot be reached at http://127.0.0.1:"));
    assert!(error.message.to_lowercase().contains("refused"), "{}", error.message);
    assert!(!error.message.contains("pass") && !error.message.contains("hush"));
}

#[tokio::test]
async fn silence_before_the_first_token_times_out() {
    let silent = Act::packets(Vec::new(), Duration::ZERO).then_hang();
    let pings = Act::packets(vec![b": ping\n\n".to_vec(); 50], Duration::from_millis(20));
    let server = Server::start(vec![Act::Silence, silent, pings]).await;
    let client = hasty(&server);
    for _ in 0..3 {
        let start = Instant::now();
        let error = ask(&client).await.error.unwrap();
        assert_eq!(error.class, ErrorClass::Timeout);
        assert_eq!(error.message, "scripted did not begin to answer within 0.2 s");
        assert!(start.elapsed() < PATIENCE / 2);
    }
}

#[tokio::test]
async fn silence_in_the_middle_times_out() {
    let body = sse(&[&delta("a")]).into_bytes();
    let server = Server::start(vec![Act::packets(vec![body], Duration::ZERO).then_hang()]).await;
    let seen = ask(&hasty(&server)).await;
    assert_eq!((seen.text.as_str(), seen.finish), ("a", None));
    assert_eq!(seen.class(), Some(ErrorClass::Timeout));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_told_from_one_that_falls_silent() {
    let body = sse(&[&delta("a")]).into_bytes();
    let act = Act::packets(vec![body; 100], Duration::from_millis(20));
    let server = Server::start(vec![act]).await;
    let mut config = config(&server.base_url);
    config.timeouts.total = Duration::from_millis(300);
    let seen = ask(&OpenAi::new(config).unwrap()).await;
    assert!(!seen.text.is_empty());
    let error = seen.error.unwrap();
    assert_eq!((error.class, error.code()), (ErrorClass::OutOfTime, "provider_timeout"));
    assert_eq!(error.message, "scripted did not finish the answer within 0.3 s");
    assert!(!error.is_worth_another_attempt());
}

#[tokio::test]
async fn a_cut_in_the_middle_is_an_error_and_not_retried() {
    let body = sse(&[&delta("a")]).into_bytes();
    let cut = Act::packets(vec![body.clone()], Duration::ZERO).then_cut();
    let early = Act::packets(vec![body], Duration::ZERO);
    let server = Server::start(vec![cut, early]).await;
    let retrying = retrying(&server);
    let seen = ask(&retrying).await;
    assert_eq!((seen.text.as_str(), seen.class()), ("a", Some(ErrorClass::Network)));
    let seen = ask(&retrying).await;
    assert_eq!((seen.text.as_str(), seen.class()), ("a", Some(ErrorClass::Protocol)));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_cut_after_the_finish_does_no_harm() {
    let body = sse(&[&delta("a"), &finish("length")]).into_bytes();
    let server = Server::start(vec![Act::packets(vec![body], Duration::ZERO).then_cut()]).await;
    let seen = ask(&client(&server)).await;
    assert_eq!((seen.finish, seen.class()), (Some(FinishReason::Length), None));
}

#[tokio::test]
async fn malformed_answers_are_errors() {
    let server = Server::start(vec![
        Act::events(sse(&[&delta("a"), "{\"choices\":"])),
        Act::events("data: ".to_owned() + &"x".repeat(2 << 20)),
        Act::status(200, "<html>login</html>").header("content-type: text/html"),
        Act::status(302, "").header("location: http://elsewhere.invalid/"),
    ])
    .await;
    let client = client(&server);
    for expected in [
        "scripted sent an event that is not a chat completion chunk",
        "scripted sent a line longer than 1 MiB",
        "scripted answered with a web page (is base_url right?)",
        "scripted answered 302 Found (redirects are not followed; set base_url to where it points)",
    ] {
        let error = ask(&client).await.error.unwrap();
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::Protocol, expected));
    }
}

#[tokio::test]
async fn every_mess_in_the_middle_is_an_error_after_the_words_before_it() {
    for mess in [
        "{\"choices\": [{",
        "null",
        "[]",
        r#"{"choices":{}}"#,
        r#"{"choices":[{"delta":{"content":7}}]}"#,
        r#"{"choices":[{"index":-1}]}"#,
        "hello",
    ] {
        let body = sse(&[&delta("a"), mess, &delta("b"), &finish("stop"), done()]);
        let server = Server::start(vec![Act::events(body)]).await;
        let seen = ask(&client(&server)).await;
        assert_eq!((seen.text.as_str(), seen.finish), ("a", None), "{mess}");
        assert_eq!(seen.class(), Some(ErrorClass::Protocol), "{mess}");
        assert!(seen.error.unwrap().is_worth_another_attempt());
    }
    let mut body = sse(&[&delta("a")]).into_bytes();
    body.extend(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n");
    let server = Server::start(vec![Act::packets(vec![body], Duration::ZERO)]).await;
    assert_eq!(ask(&client(&server)).await.class(), Some(ErrorClass::Protocol), "no UTF-8");
}

#[tokio::test]
async fn counting_is_no_answer_and_a_failure_after_it_is_retried() {
    let counts = Act::packets(vec![sse(&[&usage(3, 0)]).into_bytes()], Duration::ZERO).then_cut();
    let server = Server::start(vec![counts, Act::events(whole("ok"))]).await;
    let seen = ask(&retrying(&server)).await;
    assert_eq!((seen.text.as_str(), seen.class()), ("ok", None));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn wrong_usage_and_a_second_finish_are_ignored() {
    let body = sse(&[
        &delta("a"),
        &finish("length"),
        &finish("stop"),
        &delta("late"),
        &usage(-4, 2),
        done(),
    ]);
    let server = Server::start(vec![Act::events(body)]).await;
    let seen = ask(&client(&server)).await;
    assert_eq!((seen.text.as_str(), seen.finish), ("a", Some(FinishReason::Length)));
    assert_eq!((seen.usage, seen.class()), (None, None));
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_answer() {
    let error = r#"{"error":{"message":"GPU on fire","code":503}}"#;
    let server = Server::start(vec![Act::events(sse(&[&delta("a"), error]))]).await;
    let seen = ask(&client(&server)).await;
    assert_eq!(seen.text, "a");
    let error = seen.error.unwrap();
    assert_eq!(error.class, ErrorClass::Unavailable);
    assert_eq!(error.message, "scripted failed while answering: GPU on fire");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = r#"{"choices":[{"message":{"content":"all at once"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1,"completion_tokens":3}}"#;
    let server = Server::start(vec![Act::status(200, body)]).await;
    let seen = ask(&client(&server)).await;
    assert_eq!((seen.text.as_str(), seen.class()), ("all at once", None));
    assert!(seen.usage.is_some());
}

#[tokio::test]
async fn dropping_the_answer_closes_the_connection() {
    let body = sse(&[&delta("a")]).into_bytes();
    let act = Act::packets(vec![body; 200], Duration::from_millis(10));
    let server = Server::start(vec![act]).await;
    let mut answer = client(&server).complete(&request()).await.unwrap();
    assert!(answer.next().await.unwrap().is_ok());
    drop(answer);
    tokio::time::timeout(PATIENCE, server.broken_off()).await.unwrap();
}

#[tokio::test]
async fn a_check_asks_for_the_models() {
    let server = Server::start(vec![
        Act::status(200, r#"{"data":[]}"#),
        Act::status(404, ""),
        Act::status(401, r#"{"error":{"message":"bad key"}}"#),
    ])
    .await;
    let client = client(&server);
    assert!(client.check().await.is_ok());
    assert!(client.check().await.is_ok());
    assert_eq!(client.check().await.unwrap_err().class, ErrorClass::Unauthorized);
    assert!(server.requests()[0].starts_with("GET /v1/models HTTP/1.1\r\n"));
}
