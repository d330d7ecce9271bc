//! Answers without measure: whatever a server sends, little of it is held.

use workers::provider::ErrorClass;

use super::asking::{PATIENCE, Seen, ask, client, hasty};
use super::scripted::{Act, Server, delta, done, finish, sse};

const MIB: usize = 1024 * 1024;
/// What the sockets on both sides may have taken beside the client.
const ON_THE_WAY: usize = 48 * MIB;

#[tokio::test]
async fn ten_megabytes_pass_and_seventeen_do_not() {
    let piece = delta(&"x".repeat(100 * 1024));
    let long = |pieces| {
        let mut parts = vec![piece.as_str(); pieces];
        let finish = finish("stop");
        parts.extend([finish.as_str(), done()]);
        Act::events(sse(&parts))
    };
    let server = Server::start(vec![long(103), long(170)]).await;
    let client = client(&server);
    let seen = ask(&client).await;
    assert_eq!((seen.text.len(), seen.class()), (103 * 100 * 1024, None));
    let seen = ask(&client).await;
    assert_eq!(seen.class(), Some(ErrorClass::AnswerTooLong));
    assert!(seen.text.len() <= 16 * MIB);
    let error = seen.error.unwrap();
    assert_eq!(error.code(), "provider_answer_too_long");
    assert!(!error.is_worth_another_attempt());
}

#[tokio::test]
async fn ten_megabytes_in_one_line_are_no_answer() {
    let line = sse(&[&delta(&"x".repeat(10 * MIB)), &finish("stop"), done()]);
    let server = Server::start(vec![Act::events(line)]).await;
    let error = ask(&client(&server)).await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Protocol);
    assert_eq!(error.message, "scripted sent a line longer than 1 MiB");
    assert!(error.is_worth_another_attempt());
}

/// What is seen of an endless body, and how much of it the client took.
async fn endless(status: u16, begin: &str, packet: &[u8]) -> (Seen, usize) {
    let act = Act::Endless { status, begin: begin.to_owned(), packet: packet.to_vec() };
    let server = Server::start(vec![act]).await;
    let seen = ask(&client(&server)).await;
    tokio::time::timeout(PATIENCE, server.broken_off()).await.unwrap();
    (seen, server.sent())
}

#[tokio::test]
async fn a_line_without_end_is_given_up_at_once() {
    let (seen, sent) = endless(200, "data: ", "x".repeat(64 * 1024).as_bytes()).await;
    assert_eq!(seen.class(), Some(ErrorClass::Protocol));
    assert!(sent < MIB + ON_THE_WAY, "{sent}");
}

#[tokio::test]
async fn an_event_without_end_is_given_up_at_once() {
    let line = format!("data: {}\n", "x".repeat(1000));
    let (seen, sent) = endless(200, "", line.repeat(64).as_bytes()).await;
    assert_eq!(seen.class(), Some(ErrorClass::Protocol));
    assert!(sent < MIB + ON_THE_WAY, "{sent}");
}

#[tokio::test]
async fn an_object_without_end_is_given_up() {
    let begin = r#"{"choices":[{"message":{"content":""#;
    let (seen, sent) = endless(200, begin, "x".repeat(64 * 1024).as_bytes()).await;
    assert_eq!(seen.class(), Some(ErrorClass::AnswerTooLong));
    assert!(sent < 32 * MIB + ON_THE_WAY, "{sent}");
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let piece = sse(&[&delta(&"x".repeat(60 * 1024))]);
    let (seen, sent) = endless(200, "", piece.as_bytes()).await;
    assert_eq!(seen.class(), Some(ErrorClass::AnswerTooLong));
    assert!((15 * MIB..=16 * MIB).contains(&seen.text.len()), "{}", seen.text.len());
    assert!(sent < 17 * MIB + ON_THE_WAY, "{sent}");
}

#[tokio::test]
async fn an_error_without_end_is_read_only_so_far() {
    let (seen, sent) = endless(500, "", "x".repeat(64 * 1024).as_bytes()).await;
    let error = seen.error.unwrap();
    assert_eq!(error.class, ErrorClass::Unavailable);
    assert!(error.message.chars().count() <= 501, "{}", error.message);
    assert!(sent < MIB + ON_THE_WAY, "{sent}");
}

#[tokio::test]
async fn signs_of_life_without_end_are_no_answer() {
    let packet = b": ping\n\n".repeat(1000);
    let act = Act::Endless { status: 200, begin: String::new(), packet };
    let server = Server::start(vec![act]).await;
    let error = ask(&hasty(&server)).await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Timeout);
    tokio::time::timeout(PATIENCE, server.broken_off()).await.unwrap();
}
