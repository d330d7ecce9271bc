//! Token counts as providers report them, checked before anyone is billed by them.

use domain::Usage;
use serde::Deserialize;

/// No model has a context near this; a larger count is a mistake.
const MOST_TOKENS: u32 = 10_000_000;

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: i64,
    completion_tokens: i64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// `DeepSeek`'s name for the cached part.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<i64>,
    /// Moonshot's.
    #[serde(default)]
    cached_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<i64>,
}

/// The usage in `json`, or none if it is missing a count, negative, absurd or all zero (some
/// servers send zeros until they know).
pub(super) fn read(json: &str) -> Option<Usage> {
    let wire: WireUsage = serde_json::from_str(json).ok()?;
    let prompt_tokens = count(wire.prompt_tokens)?;
    let completion_tokens = count(wire.completion_tokens)?;
    if prompt_tokens == 0 && completion_tokens == 0 {
        return None;
    }
    let cached = wire.prompt_tokens_details.and_then(|details| details.cached_tokens);
    let cached = cached.or(wire.prompt_cache_hit_tokens).or(wire.cached_tokens);
    let reasoning = wire.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens: cached.and_then(count).unwrap_or(0).min(prompt_tokens),
        reasoning_tokens: reasoning.and_then(count).unwrap_or(0).min(completion_tokens),
        estimated: false,
    })
}

fn count(tokens: i64) -> Option<u32> {
    u32::try_from(tokens).ok().filter(|tokens| *tokens <= MOST_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_dialect() {
        let expected =
            Usage { prompt_tokens: 9, completion_tokens: 12, cached_tokens: 4, ..Usage::default() };
        for json in [
            r#"{"prompt_tokens":9,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":4}}"#,
            r#"{"prompt_tokens":9,"completion_tokens":12,"prompt_cache_hit_tokens":4}"#,
            r#"{"prompt_tokens":9,"completion_tokens":12,"cached_tokens":4,"prompt_tokens_details":null}"#,
        ] {
            assert_eq!(read(json), Some(expected), "{json}");
        }
    }

    #[test]
    fn parts_never_exceed_the_whole() {
        let json = r#"{"prompt_tokens":3,"completion_tokens":2,"cached_tokens":9,
            "completion_tokens_details":{"reasoning_tokens":5}}"#;
        let usage = read(json).unwrap();
        assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (3, 2));
    }

    #[test]
    fn nonsense_is_no_count() {
        for json in [
            "null",
            "{}",
            "7",
            r#"{"prompt_tokens":9}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":2}"#,
            r#"{"prompt_tokens":1,"completion_tokens":99999999999}"#,
            r#"{"prompt_tokens":1,"completion_tokens":4000000000}"#,
            r#"{"prompt_tokens":"1","completion_tokens":2}"#,
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
