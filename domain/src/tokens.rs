//! Token estimates, for where no exact count is to be had.
//!
//! Tokenisers differ by model and most are not public, so the window keeps a margin instead
//! of pretending to know: English text has about four bytes a token, code and other scripts
//! about three.

use crate::content::{ContentPart, Message};

/// Bytes a token in the cautious estimate that fills a prompt's window.
const CAUTIOUS_BYTES: usize = 3;
/// Bytes a token in the even-handed estimate that stands in for a missing usage report.
const USUAL_BYTES: usize = 4;
/// Tokens that a chat template spends on each message.
const PER_MESSAGE: u32 = 8;
/// Tokens counted for a picture, sound or file, whose true price depends on the provider.
const PER_ATTACHMENT: u32 = 1024;

/// An upper estimate of the tokens `message` takes in a prompt.
pub fn in_prompt(message: &Message) -> u32 {
    message.content.iter().map(part_in_prompt).fold(PER_MESSAGE, u32::saturating_add)
}

/// An upper estimate of the tokens of `text`.
pub fn cautious(text: &str) -> u32 {
    to_u32(text.len().div_ceil(CAUTIOUS_BYTES))
}

/// A fair estimate of the tokens of `bytes` bytes of text.
pub fn usual(bytes: usize) -> u32 {
    to_u32(bytes.div_ceil(USUAL_BYTES))
}

fn part_in_prompt(part: &ContentPart) -> u32 {
    match part {
        ContentPart::Text { text } => cautious(text),
        ContentPart::Reasoning { .. } => 0,
        ContentPart::ToolCall { .. } | ContentPart::ToolResult { .. } => {
            to_u32(part.size().div_ceil(CAUTIOUS_BYTES))
        }
        ContentPart::Image { .. } | ContentPart::Audio { .. } | ContentPart::File { .. } => {
            PER_ATTACHMENT
        }
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
