//! How a session talks to its model. Every field is optional; what is unset is the model's
//! own default.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A session's settings, or those of one turn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Instructions that stand above the conversation; never cut by the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Randomness, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling, above 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The longest answer, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; at most four.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Further parameters of the Chat Completions API that go to the provider as they are
    /// (`tools`, `tool_choice`, `response_format`, `seed`, …).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_options: Map<String, Value>,
}

/// A change of [`Settings`]: a field that is absent stays, `null` unsets it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPatch {
    /// See [`Settings::model`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub model: Option<Option<String>>,
    /// See [`Settings::system_prompt`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<Option<String>>,
    /// See [`Settings::temperature`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Option<f64>>,
    /// See [`Settings::top_p`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub top_p: Option<Option<f64>>,
    /// See [`Settings::max_tokens`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<Option<u32>>,
    /// See [`Settings::stop`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub stop: Option<Option<Vec<String>>>,
    /// See [`Settings::presence_penalty`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<Option<f64>>,
    /// See [`Settings::frequency_penalty`].
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<Option<f64>>,
    /// See [`Settings::provider_options`]; replaces them all.
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub provider_options: Option<Option<Map<String, Value>>>,
}

/// A settings value out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` must be {rule}")]
pub struct InvalidSetting {
    /// The field's name.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl Settings {
    /// These settings with `patch` applied.
    #[must_use]
    pub fn patched(&self, patch: &SettingsPatch) -> Self {
        #[expect(clippy::ref_option, clippy::option_option, reason = "three things, as above")]
        fn choose<T: Clone>(old: &Option<T>, new: &Option<Option<T>>) -> Option<T> {
            new.clone().unwrap_or_else(|| old.clone())
        }
        Self {
            model: choose(&self.model, &patch.model),
            system_prompt: choose(&self.system_prompt, &patch.system_prompt),
            temperature: choose(&self.temperature, &patch.temperature),
            top_p: choose(&self.top_p, &patch.top_p),
            max_tokens: choose(&self.max_tokens, &patch.max_tokens),
            stop: choose(&self.stop, &patch.stop),
            presence_penalty: choose(&self.presence_penalty, &patch.presence_penalty),
            frequency_penalty: choose(&self.frequency_penalty, &patch.frequency_penalty),
            provider_options: match &patch.provider_options {
                None => self.provider_options.clone(),
                Some(options) => options.clone().unwrap_or_default(),
            },
        }
    }

    /// Checks every value's range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within(self.temperature, 0.0..=2.0, "temperature", "between 0 and 2")?;
        within(self.presence_penalty, -2.0..=2.0, "presence_penalty", "between -2 and 2")?;
        within(self.frequency_penalty, -2.0..=2.0, "frequency_penalty", "between -2 and 2")?;
        within(self.top_p, f64::MIN_POSITIVE..=1.0, "top_p", "above 0 and at most 1")?;
        check(self.max_tokens != Some(0), "max_tokens", "at least 1")?;
        check(
            self.system_prompt.as_ref().is_none_or(|prompt| prompt.len() <= MAX_SYSTEM_PROMPT),
            "system_prompt",
            "at most 256 KiB",
        )?;
        let stop = self.stop.as_deref().unwrap_or_default();
        check(
            stop.len() <= 4 && stop.iter().all(|text| (1..=256).contains(&text.len())),
            "stop",
            "at most four texts of 1 to 256 bytes",
        )?;
        self.validate_provider_options()
    }

    /// What the provider gets as it is must not say otherwise than what we say to it.
    fn validate_provider_options(&self) -> Result<(), InvalidSetting> {
        let options = &self.provider_options;
        check(
            !options.keys().any(|name| NOT_OPTIONS.contains(&name.as_str())),
            "provider_options",
            "free of what is a field of its own (model, messages, max_tokens, temperature, top_p, \
             stop, presence_penalty, frequency_penalty) or the server's affair (stream, \
             stream_options, n, max_completion_tokens)",
        )?;
        let size: usize = options.iter().map(|(name, value)| name.len() + json_len(value)).sum();
        check(size <= MAX_PROVIDER_OPTIONS, "provider_options", "at most 64 KiB")
    }
}

const MAX_SYSTEM_PROMPT: usize = 256 * 1024;
const MAX_PROVIDER_OPTIONS: usize = 64 * 1024;
/// Parameters of Chat Completions that are no provider options.
const NOT_OPTIONS: [&str; 12] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "presence_penalty",
    "frequency_penalty",
];

fn json_len(value: &Value) -> usize {
    value.to_string().len()
}

fn within(
    value: Option<f64>,
    range: std::ops::RangeInclusive<f64>,
    field: &'static str,
    rule: &'static str,
) -> Result<(), InvalidSetting> {
    check(value.is_none_or(|value| range.contains(&value)), field, rule)
}

fn check(holds: bool, field: &'static str, rule: &'static str) -> Result<(), InvalidSetting> {
    if holds { Ok(()) } else { Err(InvalidSetting { field, rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(json: &str) -> SettingsPatch {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        let old =
            Settings { model: Some("m".to_owned()), temperature: Some(0.5), ..Settings::default() };
        let new = old.patched(&patch(r#"{"temperature": null, "max_tokens": 9}"#));
        assert_eq!(new.model.as_deref(), Some("m"));
        assert_eq!(new.temperature, None);
        assert_eq!(new.max_tokens, Some(9));
    }

    #[test]
    fn ranges_are_checked() {
        for (json, field) in [
            (r#"{"temperature": 2.1}"#, "temperature"),
            (r#"{"top_p": 0}"#, "top_p"),
            (r#"{"max_tokens": 0}"#, "max_tokens"),
            (r#"{"presence_penalty": -3}"#, "presence_penalty"),
            (r#"{"frequency_penalty": 3}"#, "frequency_penalty"),
            (r#"{"stop": [""]}"#, "stop"),
            (r#"{"stop": ["a","b","c","d","e"]}"#, "stop"),
        ] {
            let error = Settings::default().patched(&patch(json)).validate().unwrap_err();
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn provider_options_name_nothing_that_has_a_field_of_its_own() {
        let with = |name: &str, value: Value| Settings {
            provider_options: Map::from_iter([(name.to_owned(), value)]),
            ..Settings::default()
        };
        for name in NOT_OPTIONS {
            let error = with(name, Value::Null).validate().unwrap_err();
            assert_eq!(error.field, "provider_options", "{name}");
            assert!(error.rule.contains(name), "{name} is named in {error}");
        }
        assert_eq!(with("seed", 7.into()).validate(), Ok(()));
        let most = 64 * 1024 - "seed".len() - 2;
        assert_eq!(with("seed", "x".repeat(most).into()).validate(), Ok(()));
        let error = with("seed", "x".repeat(most + 1).into()).validate().unwrap_err();
        assert_eq!((error.field, error.rule), ("provider_options", "at most 64 KiB"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<SettingsPatch>(r#"{"temprature": 1}"#).is_err());
    }
}
