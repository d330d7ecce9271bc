//! What is wrong with a configuration, in words that say where and how to put it right.

use std::path::PathBuf;

use figment::Error;
use figment::error::{Actual, Kind};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file that was asked for can't be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something in it is wrong; one problem a line, all that were found.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// Keys whose values are not repeated.
const SECRET: [&str; 3] = ["hs256_secret", "secret", "url"];

/// What `error` says, without where it was found.
pub(super) fn describe(error: &Error) -> String {
    let key = key_of(&error.path);
    let is_secret = error.path.last().is_some_and(|key| SECRET.contains(&key.as_str()));
    match &error.kind {
        Kind::UnknownField(name, known) => unknown_key(name, &error.path, known),
        Kind::UnknownVariant(name, known) => {
            format!("{key} must be {}, not \"{name}\"", list(known, " or "))
        }
        Kind::MissingField(name) if key.is_empty() => format!("\"{name}\" is missing"),
        Kind::MissingField(name) => format!("\"{name}\" is missing in {key}"),
        Kind::InvalidType(_, expected) if is_secret => format!("{key} must be {}", plain(expected)),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("{key} must be {}, not {}", plain(expected), value(found))
        }
        Kind::Message(text) if error.path.is_empty() => without_snippet(text),
        kind => format!("{key}: {kind}"),
    }
}

/// `unknown key "base_ulr" in providers[0]; did you mean "base_url"?`
fn unknown_key(name: &str, path: &[String], known: &[&str]) -> String {
    let section = match path {
        [section @ .., last] if last == name => section,
        section => section,
    };
    let place = if section.is_empty() { String::new() } else { format!(" in {}", key_of(section)) };
    match nearest(name, known) {
        Some(nearest) => format!("unknown key \"{name}\"{place}; did you mean \"{nearest}\"?"),
        None => format!("unknown key \"{name}\"{place}; known are {}", list(known, ", ")),
    }
}

/// The name that was most likely meant: one that begins alike, or is a few letters away.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let begins_alike = |known: &str| known.starts_with(name) || name.starts_with(known);
    let distance = |known: &str| {
        if begins_alike(known) { 0 } else { strsim::damerau_levenshtein(name, known) }
    };
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    (distance(nearest) <= 1 + name.len() / 3).then_some(nearest)
}

/// A type as people call it.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        expected if expected.starts_with("struct ") => "a section",
        expected => expected,
    }
}

fn value(found: &Actual) -> String {
    match found {
        Actual::Str(text) => format!("\"{text}\""),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        other => other.to_string(),
    }
}

/// `providers[0].models[1].name`
fn key_of(path: &[String]) -> String {
    path.iter().fold(String::new(), |key, part| match part.parse::<usize>() {
        Ok(index) => format!("{key}[{index}]"),
        Err(_) if key.is_empty() => part.clone(),
        Err(_) => format!("{key}.{part}"),
    })
}

fn list(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(between)
}

/// A parser's message without the line it quotes, which may hold a secret.
fn without_snippet(text: &str) -> String {
    let quoted = |line: &&str| {
        line.trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start()
            .starts_with('|')
    };
    let lines: Vec<&str> = text.lines().filter(|line| !quoted(line)).map(str::trim).collect();
    lines.join(": ").trim_end_matches([':', ' ']).to_owned()
}
