use super::*;

fn reporter() -> Reporter {
    Reporter { provider: "p".to_owned(), origin: String::new(), api_key: None }
}

fn read_all(frames: &[&str]) -> Result<Vec<Chunk>, ProviderError> {
    let mut reader = FrameReader::default();
    let mut chunks = VecDeque::new();
    for frame in frames {
        assert!(reader.read(frame.as_bytes(), &reporter(), &mut chunks)?, "{frame}");
    }
    Ok(chunks.into())
}

fn text(text: &str) -> Chunk {
    Chunk::Text(text.to_owned())
}

#[test]
fn reads_openais_stream() {
    let chunks = read_all(&[
        r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"H\u00e9"},"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
    ]);
    let usage = domain::Usage { prompt_tokens: 9, completion_tokens: 2, ..Default::default() };
    let expected = [text("Hé"), Chunk::Finish(FinishReason::Stop), Chunk::Usage(usage)];
    assert_eq!(chunks.unwrap(), expected);
}

#[test]
fn reads_reasoning_and_refusals_under_their_names() {
    let chunks = read_all(&[
        r#"{"choices":[{"delta":{"content":null,"reasoning_content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"b","content":"c"}}]}"#,
        r#"{"choices":[{"delta":{"refusal":"no"}}]}"#,
    ]);
    let reasoning = |text: &str| Chunk::Reasoning(text.to_owned());
    assert_eq!(chunks.unwrap(), [reasoning("a"), reasoning("b"), text("c"), text("no")]);
}

#[test]
fn reads_pieces_of_tool_calls() {
    let chunks = read_all(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"x","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"y","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
    ]);
    let call = |index, id: Option<&str>, name: Option<&str>, arguments: &str| Chunk::ToolCall {
        index,
        id: id.map(str::to_owned),
        name: name.map(str::to_owned),
        arguments: arguments.to_owned(),
    };
    let expected = [
        call(1, Some("x"), Some("f"), ""),
        call(1, None, None, r#"{"a""#),
        call(0, Some("y"), Some("g"), "{}"),
        Chunk::Finish(FinishReason::ToolCalls),
    ];
    assert_eq!(chunks.unwrap(), expected);
}

#[test]
fn nothing_comes_after_the_finish_but_usage() {
    let chunks = read_all(&[
        r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}"#,
        r#"{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"usage":{"prompt_tokens":1,"completion_tokens":1,"cached_tokens":1}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"usage":{"prompt_tokens":1,"completion_tokens":1,"cached_tokens":1}}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":1}}"#,
    ]);
    let usage = domain::Usage {
        prompt_tokens: 1,
        completion_tokens: 1,
        cached_tokens: 1,
        ..Default::default()
    };
    assert_eq!(
        chunks.unwrap(),
        [text("a"), Chunk::Finish(FinishReason::Length), Chunk::Usage(usage)]
    );
}

#[test]
fn other_choices_are_not_mixed_in() {
    let chunks = read_all(&[
        r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a"}}]}"#,
    ]);
    assert_eq!(chunks.unwrap(), [text("a")]);
}

#[test]
fn finish_reasons_are_mapped() {
    for (reason, expected) in [
        ("stop", FinishReason::Stop),
        ("function_call", FinishReason::ToolCalls),
        ("content_filter", FinishReason::ContentFilter),
        ("eos", FinishReason::Stop),
    ] {
        assert_eq!(finish_reason(reason, &reporter()).unwrap(), expected);
    }
    let error = finish_reason("insufficient_system_resource", &reporter()).unwrap_err();
    assert_eq!(error.class, ErrorClass::Unavailable);
    assert_eq!(read_all(&[r#"{"choices":[{"delta":{},"finish_reason":""}]}"#]).unwrap(), []);
}

#[test]
fn reads_an_answer_that_comes_whole() {
    let chunks = read_all(&[r#"{"object":"chat.completion","choices":[{"index":0,"message":
        {"role":"assistant","content":"whole"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1,"completion_tokens":1}}"#])
    .unwrap();
    assert_eq!(chunks[..2], [text("whole"), Chunk::Finish(FinishReason::Stop)]);
}

#[test]
fn errors_end_the_answer() {
    for frame in [
        r#"{"error":{"message":"boom","code":"server_error"}}"#,
        r#"{"error":"boom","choices":[]}"#,
        r#"{"object":"error","message":"boom","type":"InternalServerError"}"#,
    ] {
        let error = read_all(&[frame]).unwrap_err();
        assert_eq!(error.message, "p failed while answering: boom");
    }
}

#[test]
fn an_answer_is_bounded() {
    let frame = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(1 << 20));
    let mut reader = FrameReader::default();
    let mut read = || {
        let mut chunks = VecDeque::new();
        reader.read(frame.as_bytes(), &reporter(), &mut chunks)
    };
    for _ in 0..16 {
        assert!(read().unwrap());
    }
    assert_eq!(read().unwrap_err().class, ErrorClass::AnswerTooLong);
}

#[test]
fn what_is_no_chunk_is_told() {
    let mut chunks = VecDeque::new();
    for junk in
        ["{", "[]x", "7", r#"{"choices":7}"#, "{\"choices\":[{\"delta\":{\"content\":\"\u{1}\"}}]}"]
    {
        let read = FrameReader::default().read(junk.as_bytes(), &reporter(), &mut chunks);
        assert!(!read.unwrap(), "{junk}");
    }
}
