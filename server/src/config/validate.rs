//! What types cannot say: ranges, and keys that depend on each other.

use api::auth::SharedSecret;
use domain::TenantId;
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::{Config, Environment, Purpose, Secret, providers, quota, webhooks};

/// The longest name of a worker: something is added to it.
const MAX_WORKER_ID: usize = 200;

/// A value that can't be used.
pub(super) struct Problem {
    /// The key.
    pub(super) path: Vec<String>,
    /// What is wrong, with the key's name.
    pub(super) text: String,
}

/// Everything that is wrong with `config`; fills in the secret that the environment holds.
pub(super) fn validate(
    config: &mut Config,
    environment: &Environment,
    purpose: Purpose,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    resolve_secret(config, environment, &mut problems);
    check_auth(config, &mut problems);
    check_ranges(config, &mut problems);
    check_texts(config, &mut problems);
    quota::check(&config.quota, &config.tiers, &mut problems);
    webhooks::check(&mut config.webhooks, environment, purpose, &mut problems);
    let (listed, prices) = (&config.providers, &config.prices);
    providers::check(listed, prices, environment, purpose, &mut problems);
    problems
}

fn problem(key: &str, what: &str) -> Problem {
    let path = key.split('.').map(str::to_owned).collect();
    Problem { path, text: format!("{key} {what}") }
}

fn resolve_secret(config: &mut Config, environment: &Environment, problems: &mut Vec<Problem>) {
    let auth = &mut config.auth;
    let Some(name) = auth.hs256_secret_env.as_deref() else {
        return;
    };
    let key = "auth.hs256_secret_env";
    if auth.hs256_secret.is_some() {
        problems.push(problem(key, "and auth.hs256_secret exclude each other; set one of them"));
    } else if let Some(secret) = environment.get(name) {
        auth.hs256_secret = Some(Secret::from(secret));
    } else {
        problems.push(problem(key, &format!("names {name}, which is not set in the environment")));
    }
}

fn check_auth(config: &Config, problems: &mut Vec<Problem>) {
    let auth = &config.auth;
    let secret = auth.hs256_secret.as_ref().map(|secret| SharedSecret::new(secret.expose()));
    if let Some(Err(error)) = secret {
        problems.push(match &auth.hs256_secret_env {
            Some(name) => problem("auth.hs256_secret_env", &format!("names {name}: {error}")),
            None => problem("auth.hs256_secret", &format!("can't be used: {error}")),
        });
    }
    let is_http = |url: &String| {
        Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
    };
    if !auth.jwks_url.as_ref().is_none_or(is_http) {
        problems.push(problem("auth.jwks_url", "must be a URL with https:// or http://"));
    }
}

fn check_ranges(config: &Config, problems: &mut Vec<Problem>) {
    let size = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let ranges = [
        ("http.max_body_bytes", size(config.http.max_body_bytes), 1024..=1 << 30),
        ("http.request_timeout_seconds", config.http.request_timeout_seconds, 1..=3600),
        ("http.max_connections", size(config.http.max_connections), 1..=1_000_000),
        ("http.stalled_client_seconds", config.http.stalled_client_seconds, 1..=86_400),
        ("queue.max_waiting_per_tenant", config.queue.max_waiting_per_tenant, 1..=1_000_000_000),
        ("queue.max_waiting", config.queue.max_waiting, 1..=1_000_000_000),
        ("database.max_connections", config.database.max_connections.into(), 2..=10_000),
        ("database.statement_timeout_ms", config.database.statement_timeout_ms, 100..=3_600_000),
        ("auth.leeway_seconds", config.auth.leeway_seconds, 0..=300),
        ("worker.concurrency", size(config.worker.concurrency), 1..=100_000),
        ("worker.delta_interval_ms", config.worker.delta_interval_ms, 0..=1000),
        ("attempts.max_without_progress", config.attempts.max_without_progress.into(), 1..=1000),
        ("attempts.max_broken_off", config.attempts.max_broken_off.into(), 1..=1000),
        ("attempts.max_in_all", config.attempts.max_in_all.into(), 1..=10_000),
        ("quota.hold_seconds", config.quota.hold_seconds.into(), 60..=86_400),
        ("quota.answer_step", config.quota.answer_step.into(), 16..=65_536),
        ("shutdown.grace_seconds", config.shutdown.grace_seconds, 0..=3600),
    ];
    let wrong = ranges.into_iter().filter(|(_, value, range)| !range.contains(value));
    problems.extend(wrong.map(|(key, value, range)| {
        let (least, most) = range.into_inner();
        problem(key, &format!("must be from {least} to {most}, not {value}"))
    }));
}

fn check_texts(config: &Config, problems: &mut Vec<Problem>) {
    if let Some(origin) = config.http.cors_origins.iter().find(|origin| !is_origin(origin)) {
        let what = format!(
            "holds \"{origin}\", which is neither \"*\" nor an origin such as \
             \"https://chat.example.org\" (scheme, host and port only)"
        );
        problems.push(problem("http.cors_origins", &what));
    }
    if let Some(id) = &config.worker.id
        && (id.parse::<domain::WorkerId>().is_err() || id.len() > MAX_WORKER_ID)
    {
        problems.push(problem("worker.id", "must be 1 to 200 printable characters"));
    }
    if config.admin.operator_tenant == Some(TenantId::deployment()) {
        problems.push(problem("admin.operator_tenant", "is a reserved name"));
    }
    if let Err(error) = EnvFilter::try_new(&config.log.filter) {
        problems.push(problem("log.filter", &format!("is not a log filter: {error}")));
    }
    let schemes: [(&str, &Option<Secret>, &[&str]); 2] = [
        ("database.url", &config.database.url, &["postgres://", "postgresql://"]),
        ("nats.url", &config.nats.url, &["nats://", "tls://", "ws://", "wss://"]),
    ];
    for (key, url, schemes) in schemes {
        let fits = |url: &Secret| schemes.iter().any(|scheme| url.expose().starts_with(scheme));
        if url.as_ref().is_some_and(|url| !fits(url)) {
            problems.push(problem(key, &format!("must begin with {}", schemes.join(" or "))));
        }
    }
}

fn is_origin(text: &str) -> bool {
    let is_exact = |url: Url| url.origin().is_tuple() && url.origin().ascii_serialization() == text;
    text == "*" || Url::parse(text).is_ok_and(is_exact)
}
