//! Subject names. A tenant id is a valid subject token by its type; aggregates are UUIDs or
//! `tenant:user` texts that are made safe here.

use domain::{TenantId, TurnId};

pub(crate) const ALL_EVENTS: &str = "ev.>";
pub(crate) const ALL_JOBS: &str = "job.>";
pub(crate) const ALL_DELTAS: &str = "delta.>";
pub(crate) const ALL_STOPS: &str = "stop.*";
pub(crate) const HEAD: &str = "log.head";

pub(crate) fn event(tenant: &str, aggregate_type: &str, aggregate_id: &str) -> String {
    format!("ev.{}.{}.{}", token(tenant), token(aggregate_type), token(aggregate_id))
}

pub(crate) fn job(pool: &str, urgent: bool) -> String {
    let pool = token(pool);
    if urgent { format!("job.{pool}.urgent") } else { format!("job.{pool}.next") }
}

pub(crate) fn delta(tenant: &TenantId, turn: TurnId) -> String {
    format!("delta.{tenant}.{turn}")
}

pub(crate) fn stop(turn: TurnId) -> String {
    format!("stop.{turn}")
}

/// What NATS doesn't take in a token becomes `_`.
pub(crate) fn token(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.chars().map(|c| if safe(c) { c } else { '_' }).collect()
}
