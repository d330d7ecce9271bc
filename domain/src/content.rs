//! What a message holds: a list of parts, from the first event on, so that images, files and
//! tool calls need no new shape later.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::MessageId;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// An `https:` or `data:` URL.
        url: String,
        /// How closely to look: `low`, `high` or `auto`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A sound.
    Audio {
        /// Base64 of the bytes.
        data: String,
        /// `wav` or `mp3`.
        format: String,
    },
    /// A document.
    File {
        /// A `data:` URL, or an id the provider knows.
        reference: String,
        /// Its name, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    /// The model asks for a tool to be run.
    ToolCall {
        /// The call's id, which its result names.
        id: String,
        /// The function's name.
        name: String,
        /// The arguments: JSON text, as the model wrote it.
        arguments: String,
    },
    /// What a tool gave back.
    ToolResult {
        /// The call it answers.
        tool_call_id: String,
        /// The result.
        content: Value,
    },
    /// The model's reasoning, where the provider shows it. Never sent back to a model.
    Reasoning {
        /// The text.
        text: String,
    },
}

impl ContentPart {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// Its size in bytes, as counted against a message's limit.
    pub fn size(&self) -> usize {
        match self {
            Self::Text { text } | Self::Reasoning { text } => text.len(),
            Self::Image { url, detail } => url.len() + detail.as_ref().map_or(0, String::len),
            Self::Audio { data, format } => data.len() + format.len(),
            Self::File { reference, filename } => {
                reference.len() + filename.as_ref().map_or(0, String::len)
            }
            Self::ToolCall { id, name, arguments } => id.len() + name.len() + arguments.len(),
            Self::ToolResult { tool_call_id, content } => {
                tool_call_id.len() + content.to_string().len()
            }
        }
    }

    /// Whether it says nothing at all.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Text { text } | Self::Reasoning { text } => text.trim().is_empty(),
            Self::Image { url, .. } => url.is_empty(),
            Self::Audio { data, .. } => data.is_empty(),
            Self::File { reference, .. } => reference.is_empty(),
            Self::ToolCall { .. } | Self::ToolResult { .. } => false,
        }
    }
}

/// A message in its place in the session's tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The message it follows; none at the root.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<ContentPart>,
    /// The speaker's name, where several share a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was accepted (user) or finished (assistant).
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// All text parts, joined.
    pub fn text(&self) -> String {
        text_of(&self.content)
    }
}

/// All text parts of `content`, joined.
pub fn text_of(content: &[ContentPart]) -> String {
    content
        .iter()
        .filter_map(|part| match part {
            ContentPart::Text { text } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
