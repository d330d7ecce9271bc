use std::sync::Arc;

use chrono::DateTime;
use domain::session::Prompt;
use domain::{MessageId, Settings};
use serde_json::json;

use super::*;

fn message(role: Role, content: Vec<ContentPart>) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(
            serde_json::from_value(json!("00000000-0000-7000-8000-000000000000")).unwrap(),
        ),
        parent_id: None,
        role,
        content,
        name: None,
        created_at: DateTime::UNIX_EPOCH,
    })
}

fn json_of(messages: Vec<Arc<Message>>, settings: Settings) -> Value {
    let prompt = Prompt { system: Some("be kind".to_owned()), messages, dropped: 0 };
    let request = CompletionRequest { model: "m".to_owned(), prompt, settings, prefix: None };
    serde_json::from_slice(&body(&request, MaxTokensField::MaxTokens, Continuation::None).unwrap())
        .unwrap()
}

#[test]
fn text_is_plain_and_the_system_prompt_first() {
    let two = vec![ContentPart::text("a"), ContentPart::text("b")];
    let user = message(Role::User, vec![ContentPart::text("hi")]);
    let json = json_of(vec![user, message(Role::User, two)], Settings::default());
    assert_eq!(
        json,
        json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "hi"},
                {"role": "user", "content": "ab"},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
}

#[test]
fn attachments_become_parts() {
    let content = vec![
        ContentPart::text("look"),
        ContentPart::Image { url: "https://x/y.png".to_owned(), detail: Some("low".to_owned()) },
        ContentPart::Image { url: "data:,".to_owned(), detail: None },
        ContentPart::Audio { data: "AA==".to_owned(), format: "wav".to_owned() },
        ContentPart::File { reference: "data:a".to_owned(), filename: Some("f.pdf".to_owned()) },
        ContentPart::File { reference: "file-1".to_owned(), filename: None },
    ];
    let json = json_of(vec![message(Role::User, content)], Settings::default());
    assert_eq!(
        json["messages"][1]["content"],
        json!([
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:,"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:a", "filename": "f.pdf"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ])
    );
}

#[test]
fn tools_are_called_and_answer_and_reasoning_stays_here() {
    let call = ContentPart::ToolCall {
        id: "c1".to_owned(),
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
    };
    let reasoning = || ContentPart::Reasoning { text: "secret thought".to_owned() };
    let result =
        |id: &str, content| ContentPart::ToolResult { tool_call_id: id.to_owned(), content };
    let json = json_of(
        vec![
            message(Role::Assistant, vec![reasoning(), call]),
            message(Role::Tool, vec![result("c1", json!({"a": 1})), result("c2", json!("b"))]),
            message(Role::Assistant, vec![reasoning()]),
            message(Role::Assistant, vec![reasoning(), ContentPart::text("done")]),
        ],
        Settings::default(),
    );
    let function = json!({"name": "f", "arguments": "{}"});
    assert_eq!(
        json["messages"].as_array().unwrap()[1..],
        [
            json!({"role": "assistant", "content": null,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}]}),
            json!({"role": "tool", "tool_call_id": "c1", "content": "{\"a\":1}"}),
            json!({"role": "tool", "tool_call_id": "c2", "content": "b"}),
            json!({"role": "assistant", "content": "done"}),
        ]
    );
}

#[test]
fn settings_and_options_are_sent_but_ours_stay_ours() {
    let options = json!({
        "seed": 7, "tools": [], "temperature": 2.0, "model": "other", "messages": [],
        "stream": false, "stream_options": null, "max_completion_tokens": 9, "n": 3,
    });
    let settings = Settings {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(5),
        stop: Some(vec!["END".to_owned()]),
        presence_penalty: Some(0.25),
        frequency_penalty: Some(-1.0),
        provider_options: options.as_object().unwrap().clone(),
        ..Settings::default()
    };
    let mut json = json_of(Vec::new(), settings);
    json.as_object_mut().unwrap().remove("messages");
    assert_eq!(
        json,
        json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "seed": 7, "tools": [], "temperature": 0.5, "top_p": 0.9, "max_tokens": 5,
            "stop": ["END"], "presence_penalty": 0.25, "frequency_penalty": -1.0,
        })
    );
}

#[test]
fn the_limits_field_has_two_names() {
    let prompt = Prompt { system: None, messages: Vec::new(), dropped: 0 };
    let settings = Settings { max_tokens: Some(5), ..Settings::default() };
    let request = CompletionRequest { model: "m".to_owned(), prompt, settings, prefix: None };
    let body = body(&request, MaxTokensField::MaxCompletionTokens, Continuation::None).unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((json.get("max_tokens"), &json["max_completion_tokens"]), (None, &json!(5)));
}
