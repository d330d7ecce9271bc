//! Token estimates, for where no exact count is to be had.
//!
//! Tokenisers differ by model and most are not public, so the window keeps a margin instead
//! of pretending to know.

use crate::content::{ContentPart, Message};

/// Shares of a token that the cautious estimate counts in.
const TOKEN: usize = 12;
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

/// An upper estimate of the tokens of `text`, by what byte-level tokenisers do at worst in
/// practice: words of letters and spaces take three bytes a token or more. Digits and
/// punctuation (and control characters) may stand alone, one token each, as in hex, tables and
/// code. Other scripts and emoji fall apart into pieces of characters, of three bytes for two
/// and a quarter tokens, or four for three.
pub fn cautious(text: &str) -> u32 {
    let shares: usize = text.bytes().map(shares).sum();
    to_u32(shares.div_ceil(TOKEN))
}

fn shares(byte: u8) -> usize {
    match byte {
        b' ' | b'a'..=b'z' | b'A'..=b'Z' => TOKEN / 3,
        0x80.. => TOKEN * 3 / 4,
        _ => TOKEN,
    }
}

/// A fair estimate of the tokens of `bytes` bytes of text.
pub fn usual(bytes: usize) -> u32 {
    to_u32(bytes.div_ceil(USUAL_BYTES))
}

fn part_in_prompt(part: &ContentPart) -> u32 {
    match part {
        ContentPart::Text { text } => cautious(text),
        ContentPart::Reasoning { .. } => 0,
        ContentPart::ToolCall { id, name, arguments } => {
            all(&[id.as_str(), name.as_str(), arguments.as_str()])
        }
        ContentPart::ToolResult { tool_call_id, content } => {
            all(&[tool_call_id.as_str(), content.to_string().as_str()])
        }
        ContentPart::Image { .. } | ContentPart::Audio { .. } | ContentPart::File { .. } => {
            PER_ATTACHMENT
        }
    }
}

fn all(texts: &[&str]) -> u32 {
    texts.iter().map(|text| cautious(text)).fold(0, u32::saturating_add)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_spaces_are_a_third_of_a_token_each() {
        assert_eq!(cautious(""), 0);
        assert_eq!(cautious("a word or two"), 5);
        assert_eq!(cautious(&"x".repeat(300)), 100);
    }

    #[test]
    fn what_tokenisers_take_apart_counts_more() {
        for (text, at_least) in [
            ("1234567890", 10),
            ("{\"a\": [1, 2]}", 11),
            ("9f86d081884c7d65", 11),
            ("日本語のテキスト", 16),
            ("🙂🙂", 6),
            ("Привет, мир", 14),
        ] {
            assert!(cautious(text) >= at_least, "{text}: {}", cautious(text));
        }
    }

    #[test]
    fn calls_and_results_of_tools_are_counted_by_their_text() {
        let result = |text: &str| ContentPart::ToolResult {
            tool_call_id: "c".to_owned(),
            content: text.into(),
        };
        assert!(part_in_prompt(&result("日本語のテキスト")) >= 18);
        let call = ContentPart::ToolCall {
            id: "call".to_owned(),
            name: "f".to_owned(),
            arguments: "{\"x\":1}".to_owned(),
        };
        assert_eq!(part_in_prompt(&call), 2 + 1 + 7);
    }
}
