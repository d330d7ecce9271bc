//! The bytes of answers.

use serde_json::{Value, json};

use super::account::Usage;

/// Some take more than one byte a character, so that offsets are put to the test.
const WORDS: [&str; 8] = ["so ", "über ", "the ", "日本 ", "and ", "🙂 ", "it’s ", "end.\n"];
const ID: &str = "chatcmpl-scripted";

pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    transfer-encoding: chunked\r\n\r\n";
/// The end of a chunked body.
pub(super) const END: &[u8] = b"0\r\n\r\n";

/// The words of an answer, each at least `big` bytes long; the first one tells which call it
/// belongs to.
pub(super) fn words(call: u64, tokens: usize, big: usize) -> Vec<String> {
    let word = |number: usize| {
        let word = match number {
            0 => format!("#{call} "),
            _ => WORDS[number % WORDS.len()].to_owned(),
        };
        let times = big.div_ceil(word.len()).max(1);
        word.repeat(times)
    };
    (0..tokens).map(word).collect()
}

/// What follows after `begun`, which an earlier call of the same length has said.
pub(super) fn rest(begun: &str, tokens: usize) -> Vec<String> {
    let call = begun.trim_start_matches('#').split(' ').next().and_then(|call| call.parse().ok());
    let whole = words(call.unwrap_or_default(), tokens, 0).concat();
    let rest = whole.strip_prefix(begun).unwrap_or_else(|| panic!("{begun:?} is no beginning"));
    echo(rest)
}

/// `message`, word by word.
pub(super) fn echo(message: &str) -> Vec<String> {
    message.split_inclusive(' ').map(str::to_owned).collect()
}

/// The first chunk of a stream: only the role.
pub(super) fn opening(model: &str) -> Vec<u8> {
    chunk(model, &json!({ "role": "assistant", "content": "" }), &Value::Null)
}

pub(super) fn token(model: &str, text: &str) -> Vec<u8> {
    chunk(model, &json!({ "content": text }), &Value::Null)
}

/// A token, and what was used up to it.
pub(super) fn counted(model: &str, text: &str, usage: Usage) -> Vec<u8> {
    let choice = json!({ "index": 0, "delta": { "content": text }, "finish_reason": null });
    let mut body = envelope(model, "chat.completion.chunk", &json!([choice]));
    body["usage"] = usage_of(usage);
    data(&body.to_string())
}

pub(super) fn thought(model: &str, text: &str) -> Vec<u8> {
    chunk(model, &json!({ "reasoning_content": text }), &Value::Null)
}

/// A piece of a tool call; the first one, 0, names it.
pub(super) fn call(model: &str, piece: usize) -> Vec<u8> {
    let call = match piece {
        0 => {
            json!({ "index": 0, "id": "call-1", "function": { "name": "look_up", "arguments": "" } })
        }
        _ => json!({ "index": 0, "function": { "arguments": format!("[{piece}]") } }),
    };
    chunk(model, &json!({ "tool_calls": [call] }), &Value::Null)
}

/// The last chunks: the reason, the usage, the end mark.
pub(super) fn closing(model: &str, usage: Option<Usage>) -> Vec<u8> {
    let mut bytes = chunk(model, &json!({}), &json!("stop"));
    if let Some(usage) = usage {
        let mut body = envelope(model, "chat.completion.chunk", &json!([]));
        body["usage"] = usage_of(usage);
        bytes.extend(data(&body.to_string()));
    }
    bytes.extend(data("[DONE]"));
    bytes
}

/// One event as one chunk of the body.
pub(super) fn data(text: &str) -> Vec<u8> {
    let event = format!("data: {text}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// A whole answer with a length.
pub(super) fn whole(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// An answer that was not asked for as a stream.
pub(super) fn completion(model: &str, text: &str, usage: Option<Usage>) -> Value {
    let message = json!({ "role": "assistant", "content": text });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let mut body = envelope(model, "chat.completion", &json!([choice]));
    if let Some(usage) = usage {
        body["usage"] = usage_of(usage);
    }
    body
}

/// The bytes of a bench model's answer, head and all: one write.
pub(super) fn bench(model: &str, tokens: usize) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend(opening(model));
    for word in bench_words(tokens) {
        bytes.extend(token(model, word));
    }
    bytes.extend(closing(model, Some(Usage { prompt: 10, completion: tokens as u64 })));
    bytes.extend(END);
    bytes
}

pub(super) fn bench_text(tokens: usize) -> String {
    bench_words(tokens).collect()
}

fn bench_words(tokens: usize) -> impl Iterator<Item = &'static str> {
    WORDS.iter().copied().cycle().take(tokens)
}

fn chunk(model: &str, delta: &Value, finish_reason: &Value) -> Vec<u8> {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
    data(&envelope(model, "chat.completion.chunk", &json!([choice])).to_string())
}

fn envelope(model: &str, object: &str, choices: &Value) -> Value {
    json!({ "id": ID, "object": object, "created": 1, "model": model, "choices": choices })
}

fn usage_of(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    })
}
