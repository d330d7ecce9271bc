//! What a Chat Completions request says, in our words.

use domain::session::NewMessage;
use domain::{ContentPart, Role, SessionId, Settings, SettingsPatch};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::on_disconnect::OnDisconnect;

/// The request. Options that aren't named here go to the provider as they are.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    model: Option<String>,
    messages: Vec<ChatMessage>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    stop: Option<Stop>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    n: Option<u32>,
    logprobs: Option<bool>,
    /// Our extension: go on with this session.
    session_id: Option<SessionId>,
    /// Our extension: what becomes of the turn when the client leaves.
    on_disconnect: Option<OnDisconnect>,
    #[serde(flatten)]
    options: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: ChatRole,
    content: Option<ChatContent>,
    name: Option<String>,
    tool_calls: Option<Vec<ChatToolCall>>,
    tool_call_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChatRole {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ChatContent {
    Text(String),
    Parts(Vec<ChatPart>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ChatPart {
    Text { text: String },
    Refusal { refusal: String },
    ImageUrl { image_url: ImageUrl },
    InputAudio { input_audio: InputAudio },
    File { file: FileInput },
}

#[derive(Debug, Deserialize)]
struct ImageUrl {
    url: String,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InputAudio {
    data: String,
    format: String,
}

#[derive(Debug, Deserialize)]
struct FileInput {
    file_id: Option<String>,
    file_data: Option<String>,
    filename: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ChatToolCall {
    id: String,
    function: ChatFunction,
}

#[derive(Debug, Deserialize)]
struct ChatFunction {
    name: String,
    arguments: String,
}

/// The request as a conversation of ours.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) settings: Settings,
    pub(crate) history: Vec<NewMessage>,
    pub(crate) message: NewMessage,
}

impl Conversation {
    /// What was said after the last answer, as one message: several tools may have answered.
    pub(crate) fn into_newest(self) -> Result<(Settings, NewMessage), ApiError> {
        let Self { settings, history, mut message } = self;
        if !matches!(message.role, Role::User | Role::Tool) {
            let detail = "with `session_id`, the last message must be a user's or a tool's";
            return Err(ApiError::bad_request("invalid_messages", detail).with_field("messages"));
        }
        let earlier = history.into_iter().rev().take_while(|said| said.role != Role::Assistant);
        for said in earlier {
            if said.role != message.role {
                let detail = "with `session_id`, the messages after the last answer must have \
                    one role; send tool results first and go on from their answer";
                return Err(
                    ApiError::bad_request("invalid_messages", detail).with_field("messages")
                );
            }
            // Texts of a person are told apart; results of tools are parts of their own.
            let apart = (message.role == Role::User).then(|| ContentPart::text("\n\n"));
            message.content.splice(0..0, said.content.into_iter().chain(apart));
        }
        Ok((settings, message))
    }
}

/// Options that mean something to `OpenAI`'s own service only.
const IGNORED: [&str; 6] =
    ["user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"];
/// Options that change the answer's shape in ways that can't be kept here.
const UNSUPPORTED: [&str; 5] =
    ["audio", "functions", "function_call", "top_logprobs", "modalities"];

impl ChatRequest {
    pub(crate) fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.session_id
    }

    pub(crate) fn on_disconnect(&self) -> Option<OnDisconnect> {
        self.on_disconnect
    }

    /// Leading system messages become the system prompt; the last message is to be answered.
    pub(crate) fn into_conversation(self) -> Result<Conversation, ApiError> {
        self.refuse_unsupported()?;
        let mut options = self.options;
        options.retain(|name, value| !value.is_null() && !IGNORED.contains(&name.as_str()));
        let mut system = Vec::new();
        let mut history = Vec::new();
        for message in self.messages {
            let is_system = matches!(message.role, ChatRole::System | ChatRole::Developer);
            let message = message.into_message()?;
            if is_system && history.is_empty() {
                system.push(domain::content::text_of(&message.content));
            } else {
                history.push(message);
            }
        }
        let message = history.pop().ok_or_else(|| {
            let detail = "`messages` must hold at least one message that is not a system message";
            ApiError::bad_request("invalid_messages", detail).with_field("messages")
        })?;
        let settings = Settings {
            model: self.model,
            system_prompt: (!system.is_empty()).then(|| system.join("\n\n")),
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            stop: self.stop.map(|stop| match stop {
                Stop::One(text) => vec![text],
                Stop::Many(texts) => texts,
            }),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            provider_options: options,
        };
        Ok(Conversation { settings, history, message })
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let refuse = |field: &str, detail: String| {
            Err(ApiError::bad_request("unsupported_parameter", detail).with_field(field))
        };
        if self.n.is_some_and(|n| n != 1) {
            return refuse("n", "`n` must be 1: a turn has one answer".to_owned());
        }
        if self.logprobs == Some(true) {
            return refuse("logprobs", "`logprobs` is not supported".to_owned());
        }
        let asked = |name: &&&str| self.options.get(**name).is_some_and(|value| !value.is_null());
        match UNSUPPORTED.iter().find(asked) {
            Some(field) => refuse(field, format!("`{field}` is not supported")),
            None => Ok(()),
        }
    }
}

impl ChatMessage {
    fn into_message(self) -> Result<NewMessage, ApiError> {
        let mut content = match self.content {
            None => Vec::new(),
            Some(ChatContent::Text(text)) => vec![ContentPart::text(text)],
            Some(ChatContent::Parts(parts)) => {
                parts.into_iter().map(ChatPart::into_part).collect::<Result<_, _>>()?
            }
        };
        let calls = self.tool_calls.unwrap_or_default();
        content.extend(calls.into_iter().map(|call| ContentPart::ToolCall {
            id: call.id,
            name: call.function.name,
            arguments: call.function.arguments,
        }));
        let role = match self.role {
            ChatRole::System | ChatRole::Developer => Role::System,
            ChatRole::User => Role::User,
            ChatRole::Assistant => Role::Assistant,
            ChatRole::Tool => Role::Tool,
        };
        if role == Role::Tool {
            let tool_call_id = self.tool_call_id.ok_or_else(|| {
                let detail = "a message of role `tool` must name its `tool_call_id`";
                ApiError::bad_request("invalid_messages", detail).with_field("messages")
            })?;
            let text = domain::content::text_of(&content);
            content = vec![ContentPart::ToolResult { tool_call_id, content: Value::String(text) }];
        }
        Ok(NewMessage { role, content, name: self.name })
    }
}

impl ChatPart {
    fn into_part(self) -> Result<ContentPart, ApiError> {
        Ok(match self {
            Self::Text { text } | Self::Refusal { refusal: text } => ContentPart::Text { text },
            Self::ImageUrl { image_url } => {
                ContentPart::Image { url: image_url.url, detail: image_url.detail }
            }
            Self::InputAudio { input_audio } => {
                ContentPart::Audio { data: input_audio.data, format: input_audio.format }
            }
            Self::File { file } => ContentPart::File {
                reference: file.file_id.or(file.file_data).ok_or_else(|| {
                    let detail = "a file part must have `file_id` or `file_data`";
                    ApiError::bad_request("invalid_messages", detail).with_field("messages")
                })?,
                filename: file.filename,
            },
        })
    }
}

/// What the request says, over what the session has; what it doesn't say stays.
pub(crate) fn as_patch(settings: Settings) -> SettingsPatch {
    let options = settings.provider_options;
    SettingsPatch {
        model: settings.model.map(Some),
        system_prompt: settings.system_prompt.map(Some),
        temperature: settings.temperature.map(Some),
        top_p: settings.top_p.map(Some),
        max_tokens: settings.max_tokens.map(Some),
        stop: settings.stop.map(Some),
        presence_penalty: settings.presence_penalty.map(Some),
        frequency_penalty: settings.frequency_penalty.map(Some),
        provider_options: (!options.is_empty()).then_some(Some(options)),
    }
}
