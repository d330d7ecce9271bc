//! `[quota]` and `[tiers.NAME]`: what users may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::quota::{Limits, QuotaPolicy};
use domain::{Credits, TenantId};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::nearest;
use super::validate::Problem;

/// The longest name of a tier.
const MAX_NAME: usize = 64;

/// `[quota]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    /// The tier of a new account whose token names none.
    pub(crate) default_tier: String,
    /// Tenants whose new accounts get another one.
    pub(crate) tenant_default_tiers: BTreeMap<String, String>,
    /// How long a hold lasts without a sign of life of its turn.
    pub(crate) hold_seconds: u32,
    /// Tokens held for an answer whose length nobody limited, and the step by which they grow.
    pub(crate) answer_step: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            default_tier: "free".to_owned(),
            tenant_default_tiers: BTreeMap::new(),
            hold_seconds: 3600,
            answer_step: 512,
        }
    }
}

/// `[tiers]`: the built-in ones, and the configured ones in place of those of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Tiers(pub(crate) BTreeMap<String, Limits>);

impl Default for Tiers {
    fn default() -> Self {
        let a_minute = |requests: u32, day: u64, month: u64| Limits {
            requests_per_minute: requests,
            tokens_per_day: day,
            tokens_per_month: month,
            ..Limits::default()
        };
        let tokens = |day: u64, month: u64, total: u64| Limits {
            tokens_per_day: day,
            tokens_per_month: month,
            tokens_total: total,
            ..Limits::default()
        };
        let tiers = [
            ("free", a_minute(20, 10_000, 100_000)),
            ("pro", a_minute(60, 1_000_000, 20_000_000)),
            ("enterprise", a_minute(600, 20_000_000, 400_000_000)),
            ("reader", tokens(10_000, 200_000, 5_000_000)),
            ("writer", tokens(50_000, 1_000_000, 20_000_000)),
            ("vip", tokens(100_000, 2_000_000, 50_000_000)),
            ("admin", Limits::default()),
            ("unlimited", Limits::default()),
        ];
        Self(tiers.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect())
    }
}

/// [`Limits`], without a field that nobody knows. Those in the log are read more kindly.
#[derive(Default, Deserialize)]
#[serde(remote = "Limits", rename = "Limits", default, deny_unknown_fields)]
struct StrictLimits {
    requests_per_minute: u32,
    tokens_per_day: u64,
    tokens_per_month: u64,
    tokens_total: u64,
    credits_per_day: Credits,
    credits_per_month: Credits,
    credit_balance: Credits,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Tier(#[serde(with = "StrictLimits")] Limits);

impl<'de> Deserialize<'de> for Tiers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let configured = BTreeMap::<String, Tier>::deserialize(deserializer)?;
        let mut tiers = Self::default();
        tiers.0.extend(configured.into_iter().map(|(name, tier)| (name, tier.0)));
        Ok(tiers)
    }
}

/// The rules for accounts that `quota` and `tiers` make.
pub(super) fn policy(quota: &Quota, tiers: &Tiers) -> Result<Arc<QuotaPolicy>, domain::InvalidId> {
    let of_tenant =
        |(tenant, tier): (&String, &String)| Ok((tenant.parse::<TenantId>()?, tier.clone()));
    let tenant_default_tiers =
        quota.tenant_default_tiers.iter().map(of_tenant).collect::<Result<_, _>>()?;
    Ok(Arc::new(QuotaPolicy {
        tiers: tiers.0.clone(),
        default_tier: quota.default_tier.clone(),
        tenant_default_tiers,
        hold: TimeDelta::seconds(quota.hold_seconds.into()),
        answer_step: quota.answer_step,
    }))
}

/// What is wrong with names and limits; ranges are checked with those of the other sections.
pub(super) fn check(quota: &Quota, tiers: &Tiers, problems: &mut Vec<Problem>) {
    let mut find = |path: &[&str], text: String| {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        problems.push(Problem { path, text });
    };
    for (name, limits) in &tiers.0 {
        if !is_name(name) {
            let text = format!("tiers: \"{name}\" must be 1 to {MAX_NAME} of A-Z a-z 0-9 _ -");
            find(&["tiers", name], text);
        }
        if let Some((limit, what)) = limits.problem() {
            find(&["tiers", name, limit.as_str()], format!("tiers.{name}.{limit} {what}"));
        }
    }
    if !tiers.0.contains_key(&quota.default_tier) {
        let text = format!("quota.default_tier {}", no_tier(&quota.default_tier, tiers));
        find(&["quota", "default_tier"], text);
    }
    for (tenant, tier) in &quota.tenant_default_tiers {
        let path = ["quota", "tenant_default_tiers", tenant];
        if let Err(error) = tenant.parse::<TenantId>() {
            find(&path, format!("quota.tenant_default_tiers: \"{tenant}\": {error}"));
        }
        if !tiers.0.contains_key(tier) {
            let text = format!("quota.tenant_default_tiers.{tenant} {}", no_tier(tier, tiers));
            find(&path, text);
        }
    }
}

fn no_tier(name: &str, tiers: &Tiers) -> String {
    let known: Vec<&str> = tiers.0.keys().map(String::as_str).collect();
    match nearest(name, &known) {
        Some(nearest) => {
            format!("is \"{name}\", which is no tier; did you mean \"{nearest}\"?")
        }
        None => format!("is \"{name}\", which is no tier; there are {}", known.join(", ")),
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
