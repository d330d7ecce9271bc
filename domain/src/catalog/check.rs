//! What a provider, a model or a price must be like, whichever side it comes from.

use std::collections::BTreeSet;

use super::command::NewPrice;
use super::provider::{Continuation, ProviderKind, ProviderSpec};
use super::rejection::CatalogRejection;
use crate::credits::Credits;
use crate::models::ModelSpec;
use crate::prices::ANY_SERVICE;

/// Retries beyond this only keep a turn waiting.
const MOST_RETRIES: u32 = 10;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: u64 = 60 * 1000;
/// Each one more only keeps a turn waiting.
const MOST_FALLBACKS: usize = 8;
const MAX_URL: usize = 2000;
const MAX_PRICE: i64 = 1_000_000;
const MAX_PRICE_PLACES: usize = 9;

const NAME: &str = "must be 1 to 255 printable characters";
const TOKEN: &str = "must be 1 to 64 of A-Z a-z 0-9 _ -";

/// A field and what is wrong with it.
type Problem = (&'static str, String);

pub(super) fn check_provider(spec: &ProviderSpec) -> Result<(), CatalogRejection> {
    provider_problem(spec).map_or(Ok(()), |(field, problem)| {
        let provider = spec.name.clone();
        Err(CatalogRejection::InvalidProvider { provider, field, problem })
    })
}

pub(super) fn check_model(spec: &ModelSpec) -> Result<(), CatalogRejection> {
    model_problem(spec).map_or(Ok(()), |(field, problem)| {
        let (provider, model) = (spec.provider.clone(), spec.name.clone());
        Err(CatalogRejection::InvalidModel { provider, model, field, problem })
    })
}

pub(super) fn check_price(price: &NewPrice) -> Result<(), CatalogRejection> {
    price_problem(price)
        .map_or(Ok(()), |(field, problem)| Err(invalid_price(price, field, &problem)))
}

pub(super) fn invalid_price(
    price: &NewPrice,
    field: &'static str,
    problem: &str,
) -> CatalogRejection {
    let (service, model, problem) =
        (price.service.clone(), price.model.clone(), problem.to_owned());
    CatalogRejection::InvalidPrice { service, model, field, problem }
}

fn provider_problem(spec: &ProviderSpec) -> Option<Problem> {
    let problem = |field: &'static str, rule: &str| Some((field, format!("{field} {rule}")));
    if !is_name(&spec.name) {
        return problem("name", NAME);
    }
    if spec.max_retries > MOST_RETRIES {
        return problem("max_retries", &format!("must be at most {MOST_RETRIES}"));
    }
    let timeouts = [
        ("connect_timeout_ms", spec.connect_timeout_ms),
        ("first_token_timeout_ms", spec.first_token_timeout_ms),
        ("inter_token_timeout_ms", spec.inter_token_timeout_ms),
        ("total_timeout_ms", spec.total_timeout_ms),
    ];
    if let Some((field, _)) = timeouts.iter().find(|(_, value)| !(1..=DAY_MS).contains(value)) {
        return problem(field, &format!("must be from 1 to {DAY_MS}"));
    }
    if spec.word_pace_ms > MINUTE_MS {
        return problem("word_pace_ms", &format!("must be at most {MINUTE_MS}"));
    }
    if !spec.api_key_env.as_deref().is_none_or(is_variable) {
        return problem("api_key_env", "must be the name of an environment variable");
    }
    if spec.kind == ProviderKind::Demo && spec.continuation != Continuation::None {
        return problem("continuation", "is not for kind \"demo\"");
    }
    match (&spec.base_url, spec.kind) {
        (Some(url), _) => problem("base_url", url_problem(url)?),
        (None, ProviderKind::OpenAi) => {
            Some(("base_url", "kind \"openai\" needs a base_url".to_owned()))
        }
        (None, ProviderKind::Demo) => None,
    }
}

/// The URL is not repeated in what is said of it: it may hold a password.
fn url_problem(url: &str) -> Option<&'static str> {
    let Some((authority, path)) = split_url(url) else {
        return Some("must begin with http:// or https://");
    };
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        Some("must not hold a user name or password; name the variable of a key in api_key_env")
    } else if url.len() > MAX_URL || url.contains(odd) || !is_authority(authority) {
        Some("is not a valid URL")
    } else if path.trim_end_matches('/').ends_with("/chat/completions") {
        Some("must end before /chat/completions")
    } else {
        None
    }
}

/// The host of a URL that was found to be good.
pub(super) fn host(url: &str) -> Option<&str> {
    split_url(url).map(|(authority, _)| split_authority(authority).0)
}

/// What stands between the scheme and the path, and the path with all after it.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
}

/// A host, perhaps with a port. Names are not looked at further: that is the resolver's task.
fn is_authority(text: &str) -> bool {
    let (host, port) = split_authority(text);
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn split_authority(text: &str) -> (&str, Option<&str>) {
    // The colons of an IPv6 address stand in brackets.
    let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
    match text[end..].find(':') {
        Some(colon) => (&text[..end + colon], Some(&text[end + colon + 1..])),
        None => (text, None),
    }
}

fn model_problem(spec: &ModelSpec) -> Option<Problem> {
    let problem = |field: &'static str, rule: &str| Some((field, format!("{field} {rule}")));
    if !is_name(&spec.name) {
        problem("name", NAME)
    } else if !spec.display_name.as_deref().is_none_or(is_name) {
        problem("display_name", NAME)
    } else if !spec.upstream_name.as_deref().is_none_or(is_name) {
        problem("upstream_name", NAME)
    } else if let Some(rule) = fallbacks_problem(spec) {
        problem("fallbacks", &rule)
    } else if spec.context == 0 {
        problem("context", "must be at least 1")
    } else if spec.max_output == 0 {
        problem("max_output", "must be at least 1")
    } else if spec.max_output > spec.context {
        let (output, context) = (spec.max_output, spec.context);
        problem("max_output", &format!("({output}) is more than context ({context})"))
    } else if !is_token(&spec.pool) {
        problem("pool", TOKEN)
    } else {
        None
    }
}

fn fallbacks_problem(spec: &ModelSpec) -> Option<String> {
    if spec.fallbacks.len() > MOST_FALLBACKS {
        return Some(format!("must be at most {MOST_FALLBACKS}"));
    }
    let names = spec.fallbacks.iter().filter_map(|one| one.upstream_name.as_deref());
    if !names.clone().all(is_name) {
        return Some(format!("has an upstream_name that is none: it {NAME}"));
    }
    let mut seen = BTreeSet::new();
    let (provider, _) = spec.routes().find(|route| !seen.insert(*route))?;
    Some(format!("names provider {provider:?} twice for the same upstream_name"))
}

fn price_problem(price: &NewPrice) -> Option<Problem> {
    if price.service != ANY_SERVICE && !is_token(&price.service) {
        return Some(("service", format!("service {TOKEN}, or \"{ANY_SERVICE}\" for any")));
    }
    let amounts = [
        ("input_per_1k", Some(price.input_per_1k)),
        ("cached_input_per_1k", price.cached_input_per_1k),
        ("output_per_1k", Some(price.output_per_1k)),
    ];
    let (field, _) = amounts.into_iter().find(|(_, amount)| !amount.is_none_or(is_price))?;
    let rule = format!(
        "{field} must be from 0 to {MAX_PRICE}, with at most {MAX_PRICE_PLACES} decimal places"
    );
    Some((field, rule))
}

fn is_price(amount: Credits) -> bool {
    let text = amount.to_string();
    let places = text.split_once('.').map_or(0, |(_, places)| places.len());
    !amount.is_negative() && amount <= Credits::whole(MAX_PRICE) && places <= MAX_PRICE_PLACES
}

fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control)
}

/// A pool stands in a NATS subject.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_variable(text: &str) -> bool {
    is_name(text) && !text.contains(['=', ' '])
}
