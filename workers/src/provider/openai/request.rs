//! The body of a request, from a prompt and its settings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::catalog::{Continuation, MaxTokensField};
use domain::content::text_of;
use domain::{ContentPart, Message, Role};
use serde::Serialize;
use serde_json::Value;

use super::seam;
use crate::provider::CompletionRequest;

/// Options that a client may not set: they decide what is asked and how the answer comes, or
/// (the last three) would make it cost more than was reserved.
const OURS: [&str; 7] =
    ["model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(flatten)]
    options: BTreeMap<&'a str, Cow<'a, Value>>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize, Default)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prefix: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
    InputAudio { input_audio: InputAudio<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct InputAudio<'a> {
    data: &'a str,
    format: &'a str,
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "file_data", skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(rename = "file_id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
}

#[derive(Serialize)]
struct WireToolCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// The request's JSON.
pub(super) fn body(
    request: &CompletionRequest,
    max_tokens_field: MaxTokensField,
    continuation: Continuation,
) -> serde_json::Result<Vec<u8>> {
    let mut messages = Vec::with_capacity(request.prompt.messages.len() + 1);
    if let Some(system) = request.prompt.system.as_deref().filter(|text| !text.is_empty()) {
        let content = Some(Content::Text(Cow::Borrowed(system)));
        messages.push(WireMessage { role: "system", content, ..WireMessage::default() });
    }
    for message in &request.prompt.messages {
        push_message(message, &mut messages);
    }
    let mut options = options(request, max_tokens_field);
    if let Some(prefix) = request.prefix.as_deref().and_then(seam::shown) {
        messages.push(beginning(prefix, continuation));
        // The beginning is known here.
        options.remove("echo");
        if continuation == Continuation::FinalMessageFlags {
            let flags = [("continue_final_message", true), ("add_generation_prompt", false)];
            options.extend(flags.map(|(name, on)| (name, Cow::Owned(Value::from(on)))));
        }
    }
    serde_json::to_vec(&Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        options,
    })
}

/// The answer as far as it has come.
fn beginning(prefix: &str, continuation: Continuation) -> WireMessage<'_> {
    let flags = [Continuation::PrefixFlag, Continuation::PrefixFlagEcho];
    WireMessage {
        role: "assistant",
        content: Some(Content::Text(Cow::Borrowed(prefix))),
        prefix: flags.contains(&continuation),
        ..WireMessage::default()
    }
}

/// The client's further options, then the settings, which win.
fn options(
    request: &CompletionRequest,
    max_tokens_field: MaxTokensField,
) -> BTreeMap<&str, Cow<'_, Value>> {
    let settings = &request.settings;
    let further = settings.provider_options.iter();
    let mut options: BTreeMap<&str, Cow<'_, Value>> = further
        .filter(|(name, _)| !OURS.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), Cow::Borrowed(value)))
        .collect();
    let max_tokens = match max_tokens_field {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    let set = [
        ("temperature", settings.temperature.map(Value::from)),
        ("top_p", settings.top_p.map(Value::from)),
        (max_tokens, request.max_tokens().map(Value::from)),
        ("stop", settings.stop.clone().filter(|stop| !stop.is_empty()).map(Value::from)),
        ("presence_penalty", settings.presence_penalty.map(Value::from)),
        ("frequency_penalty", settings.frequency_penalty.map(Value::from)),
    ];
    options.extend(set.into_iter().filter_map(|(name, value)| Some((name, Cow::Owned(value?)))));
    options
}

/// Adds a message: each tool result as a message of its own, then the rest, if there is any.
fn push_message<'a>(message: &'a Message, messages: &mut Vec<WireMessage<'a>>) {
    messages.extend(message.content.iter().filter_map(tool_result));
    let name = message.name.as_deref();
    match message.role {
        Role::System => push_spoken("system", name, &message.content, messages),
        Role::User => push_spoken("user", name, &message.content, messages),
        Role::Assistant => push_assistant(message, messages),
        // The results are all it may hold.
        Role::Tool => {}
    }
}

fn tool_result(part: &ContentPart) -> Option<WireMessage<'_>> {
    let ContentPart::ToolResult { tool_call_id, content } = part else {
        return None;
    };
    let text = match content {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    Some(WireMessage {
        role: "tool",
        content: Some(Content::Text(text)),
        tool_call_id: Some(tool_call_id),
        ..WireMessage::default()
    })
}

fn push_spoken<'a>(
    role: &'static str,
    name: Option<&'a str>,
    content: &'a [ContentPart],
    messages: &mut Vec<WireMessage<'a>>,
) {
    let mut parts: Vec<Part<'_>> = content.iter().filter_map(part).collect();
    if parts.is_empty() {
        return;
    }
    let only_text = parts.iter().all(|part| matches!(part, Part::Text { .. }));
    let content = match parts.as_slice() {
        [Part::Text { text }] => Content::Text(Cow::Borrowed(*text)),
        _ if only_text => Content::Text(Cow::Owned(text_of(content))),
        _ => Content::Parts(std::mem::take(&mut parts)),
    };
    messages.push(WireMessage { role, content: Some(content), name, ..WireMessage::default() });
}

/// An assistant says text and calls tools; its reasoning is never sent back.
fn push_assistant<'a>(message: &'a Message, messages: &mut Vec<WireMessage<'a>>) {
    let text = message.text();
    let tool_calls: Vec<WireToolCall<'_>> = message.content.iter().filter_map(tool_call).collect();
    if text.is_empty() && tool_calls.is_empty() {
        return;
    }
    messages.push(WireMessage {
        role: "assistant",
        content: (!text.is_empty()).then_some(Content::Text(Cow::Owned(text))),
        name: message.name.as_deref(),
        tool_calls,
        ..WireMessage::default()
    });
}

fn tool_call(part: &ContentPart) -> Option<WireToolCall<'_>> {
    let ContentPart::ToolCall { id, name, arguments } = part else {
        return None;
    };
    Some(WireToolCall { id, kind: "function", function: WireFunction { name, arguments } })
}

fn part(part: &ContentPart) -> Option<Part<'_>> {
    Some(match part {
        ContentPart::Text { text } => Part::Text { text },
        ContentPart::Image { url, detail } => {
            Part::ImageUrl { image_url: ImageUrl { url, detail: detail.as_deref() } }
        }
        ContentPart::Audio { data, format } => {
            Part::InputAudio { input_audio: InputAudio { data, format } }
        }
        ContentPart::File { reference, filename } => {
            let is_data = reference.starts_with("data:");
            Part::File {
                file: File {
                    data: is_data.then_some(reference),
                    id: (!is_data).then_some(reference),
                    filename: filename.as_deref(),
                },
            }
        }
        ContentPart::ToolCall { .. }
        | ContentPart::ToolResult { .. }
        | ContentPart::Reasoning { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
