//! Reads the configuration from its sources, and finds as many mistakes as it can in one go.

use std::collections::BTreeSet;
use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format as _, Toml};
use figment::value::Value;
use figment::{Figment, Provider};
use serde::Deserialize as _;

use super::error::describe;
use super::validate::validate;
use super::{Config, ConfigError, Environment, Purpose};

/// The text of the file at `path`.
pub(super) fn file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })
}

/// The configuration that the file's `text` and the environment make together.
pub(super) fn config(
    file: &Path,
    text: &str,
    environment: &Environment,
    purpose: Purpose,
) -> Result<Config, ConfigError> {
    let sources = Sources::new(file, text, environment)?;
    let mut config = sources.parse()?;
    let problems: Vec<String> = validate(&mut config, environment, purpose)
        .into_iter()
        .map(|problem| sources.locate(&problem.path, &problem.text))
        .collect();
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
}

/// All sources together, and each value's origin.
struct Sources {
    file: String,
    figment: Figment,
    values: Value,
}

impl Sources {
    fn new(file: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let file = file.display().to_string();
        let invalid = |error: figment::Error| {
            let problems = error.into_iter().map(|error| format!("{file}: {}", describe(&error)));
            ConfigError::Invalid(problems.collect())
        };
        let toml = Toml::string(text);
        toml.data().map_err(invalid)?;
        let defaults = Value::serialize(Config::default()).map_err(invalid)?;
        let mut figment = Figment::from(toml);
        for setting in environment.settings(&defaults) {
            figment = figment.merge(setting);
        }
        let values = figment.find_value("").map_err(invalid)?;
        Ok(Self { file, figment, values })
    }

    /// Reads the values. What is wrong is noted and left out, and the rest read again.
    fn parse(&self) -> Result<Config, ConfigError> {
        let mut values = self.values.clone();
        let mut problems = Vec::new();
        let mut left_out = BTreeSet::new();
        loop {
            let error = match Config::deserialize(&values) {
                Ok(config) if problems.is_empty() => return Ok(config),
                Ok(_) => return Err(ConfigError::Invalid(problems)),
                Err(error) => error,
            };
            let missing = match &error.kind {
                Kind::MissingField(name) => {
                    Some([error.path.as_slice(), &[name.to_string()]].concat())
                }
                _ => None,
            };
            // A key that is missing only because it was left out is no second mistake.
            if missing.is_none_or(|path| !left_out.contains(&path)) {
                problems.push(self.locate(&error.path, &describe(&error)));
            }
            if !remove(&mut values, &error.path) {
                return Err(ConfigError::Invalid(problems));
            }
            left_out.insert(error.path);
        }
    }

    /// `problem`, after the file or variable that set the value at `path`.
    fn locate(&self, path: &[String], problem: &str) -> String {
        let metadata = self
            .values
            .find_ref(&path.join("."))
            .and_then(|value| self.figment.get_metadata(value.tag()))
            .filter(|metadata| !metadata.name.contains("TOML"));
        match metadata {
            Some(variable) => format!("{}: {problem}", variable.name),
            None => format!("{}: {problem}", self.file),
        }
    }
}

/// Takes the value at `path` out of `values`; elements of lists stay, as the others would
/// change their numbers.
fn remove(values: &mut Value, path: &[String]) -> bool {
    match (values, path) {
        (Value::Dict(_, dict), [last]) => dict.remove(last).is_some(),
        (Value::Dict(_, dict), [first, rest @ ..]) => {
            dict.get_mut(first).is_some_and(|value| remove(value, rest))
        }
        (Value::Array(_, list), [first, rest @ ..]) => {
            let element = first.parse::<usize>().ok().and_then(|index| list.get_mut(index));
            element.is_some_and(|value| remove(value, rest))
        }
        _ => false,
    }
}
