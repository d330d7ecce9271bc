use std::time::Duration;

use domain::FinishReason;
use futures::{StreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::provider::openai::Timeouts;

fn answer(body: BoxStream<'static, reqwest::Result<Bytes>>) -> Answer {
    let report = Reporter { provider: "p".to_owned(), origin: String::new(), api_key: None };
    Answer::new(body, Deadlines::start(Timeouts::default()), Arc::new(report))
}

type Read = (Vec<Chunk>, Option<ProviderError>);

async fn read(pieces: Vec<Bytes>) -> Read {
    read_stream(stream::iter(pieces.into_iter().map(Ok)).boxed()).await
}

async fn read_stream(body: BoxStream<'static, reqwest::Result<Bytes>>) -> Read {
    let mut answer = answer(body);
    let mut chunks = Vec::new();
    let mut failure = None;
    while let Some(item) = answer.next().await {
        assert!(failure.is_none(), "the stream goes on after an error");
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => failure = Some(error),
        }
    }
    assert!(answer.next().await.is_none());
    (chunks, failure)
}

fn text(text: &str) -> Chunk {
    Chunk::Text(text.to_owned())
}

const STOP: Chunk = Chunk::Finish(FinishReason::Stop);

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text:?}}}}}]}}\n\n")
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

async fn read_text(body: String) -> Read {
    read(vec![Bytes::from(body)]).await
}

#[tokio::test]
async fn every_good_end_has_one_finish() {
    for end in ["data: [DONE]\n\n", "data: [DONE]", FINISH, FINISH.trim_end()] {
        let (chunks, error) = read_text(delta("a") + end).await;
        assert_eq!(chunks, [text("a"), STOP], "{end}");
        assert!(error.is_none(), "{error:?}");
    }
    let twice =
        delta("a") + FINISH + FINISH + &delta("late") + "data: [DONE]\n\n" + &delta("later");
    assert_eq!(read_text(twice).await.0, [text("a"), STOP]);
}

#[tokio::test]
async fn an_end_without_a_finish_is_an_error() {
    let cut = delta("b");
    for end in ["", ": ping\n\n", &cut[..cut.len() - 9]] {
        let (chunks, error) = read_text(delta("a") + end).await;
        assert_eq!(chunks, [text("a")], "{end}");
        let error = error.unwrap();
        assert_eq!(error.class, ErrorClass::Protocol);
        assert_eq!(error.message, "p ended the answer early");
    }
    for nothing in ["", ": ping\n\n"] {
        let error = read_text(nothing.to_owned()).await.1.unwrap();
        assert_eq!(error.class, ErrorClass::Protocol);
        assert!(error.message.starts_with("p sent an empty answer"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_may_come_whole() {
    let whole = r#" {"choices":[{"message":{"content":"hi"},"finish_reason":null}]}"#;
    let pieces = whole.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    assert_eq!(read(pieces).await.0, [text("hi"), STOP]);
    let cut = read_text(whole[..20].to_owned()).await.1.unwrap();
    assert_eq!(cut.message, "p sent JSON that is not a chat completion");
    let error = read_text(r#"{"error":{"message":"boom"}}"#.to_owned()).await.1.unwrap();
    assert_eq!(error.message, "p failed while answering: boom");
}

#[tokio::test]
async fn what_came_before_junk_is_given_out() {
    let (chunks, error) = read_text(delta("a") + "data: {oops\n\n" + &delta("b")).await;
    assert_eq!(chunks, [text("a")]);
    assert_eq!(error.unwrap().class, ErrorClass::Protocol);
}

/// Sends `first` at once, then a comment every ten seconds for ever.
fn comments_after(first: String) -> BoxStream<'static, reqwest::Result<Bytes>> {
    let pings = stream::repeat(()).then(|()| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok(Bytes::from_static(b": keep-alive\n\n"))
    });
    stream::iter([Ok(Bytes::from(first))]).chain(pings).boxed()
}

#[tokio::test(start_paused = true)]
async fn keep_alives_do_not_hold_off_the_deadlines() {
    let start = tokio::time::Instant::now();
    let (_, error) = read_stream(comments_after(String::from(":\n\n"))).await;
    let error = error.unwrap();
    assert_eq!(error.class, ErrorClass::Timeout);
    assert_eq!(error.message, "p did not begin to answer within 60 s");
    assert_eq!(start.elapsed().as_secs(), 60);

    let start = tokio::time::Instant::now();
    let (chunks, error) = read_stream(comments_after(delta("a"))).await;
    assert_eq!(chunks, [text("a")]);
    assert_eq!(error.unwrap().message, "p stopped in the middle of the answer for 30 s");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_has_a_deadline() {
    let slow = stream::repeat(()).then(|()| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Ok(Bytes::from(delta("a")))
    });
    let (chunks, error) = read_stream(slow.boxed()).await;
    assert_eq!(chunks.len(), 600 / 7);
    assert_eq!(error.unwrap().message, "p did not finish the answer within 600 s");
}

#[tokio::test(start_paused = true)]
async fn a_finished_answer_does_not_wait_long_for_its_end() {
    let start = tokio::time::Instant::now();
    let (chunks, error) = read_stream(comments_after(delta("a") + FINISH)).await;
    assert_eq!((chunks.len(), error.is_none()), (2, true));
    assert_eq!(start.elapsed().as_secs(), 5);

    let start = tokio::time::Instant::now();
    let (_, error) = read_stream(comments_after(delta("a") + "data: [DONE]\n\n")).await;
    assert!(error.is_none());
    assert!(start.elapsed() < Duration::from_millis(50));
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_chunks(
        texts in prop::collection::vec("[a-zé漢😀\\\\\" ]{1,9}", 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let mut body = String::from(": hello\r\n\r\n");
        body.extend(texts.iter().map(|text| delta(text)));
        body.push_str(FINISH);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| Bytes::copy_from_slice(&body.as_bytes()[pair[0]..pair[1]]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (chunks, error) = runtime.block_on(read(pieces.collect()));
        let mut expected: Vec<Chunk> = texts.iter().map(|each| text(each)).collect();
        expected.push(STOP);
        prop_assert!(error.is_none());
        prop_assert_eq!(chunks, expected);
    }
}
