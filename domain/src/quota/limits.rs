//! What an account may use: limits, the tiers that name sets of them, overrides for one account.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::ids::TenantId;

/// No limit counts further, and no amount is larger.
pub const MOST_TOKENS: u64 = 1_000_000_000_000;

/// The limits there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Requests within any 60 seconds.
    RequestsPerMinute,
    /// Tokens in a day, UTC.
    TokensPerDay,
    /// Tokens in a month, UTC.
    TokensPerMonth,
    /// Tokens altogether.
    TokensTotal,
    /// Credits in a day, UTC.
    CreditsPerDay,
    /// Credits in a month, UTC.
    CreditsPerMonth,
    /// Credits there are.
    CreditBalance,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RequestsPerMinute,
        Self::TokensPerDay,
        Self::TokensPerMonth,
        Self::TokensTotal,
        Self::CreditsPerDay,
        Self::CreditsPerMonth,
        Self::CreditBalance,
    ];

    /// Its name, as in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::TokensPerMonth => "tokens_per_month",
            Self::TokensTotal => "tokens_total",
            Self::CreditsPerDay => "credits_per_day",
            Self::CreditsPerMonth => "credits_per_month",
            Self::CreditBalance => "credit_balance",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of limits; 0 means unlimited. It stands in stored events, to which newer versions may
/// add fields: who reads a client's or an operator's refuses unknown ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// See [`LimitKind::RequestsPerMinute`].
    pub requests_per_minute: u32,
    /// See [`LimitKind::TokensPerDay`].
    pub tokens_per_day: u64,
    /// See [`LimitKind::TokensPerMonth`].
    pub tokens_per_month: u64,
    /// What the account is granted; recharges add to it.
    pub tokens_total: u64,
    /// See [`LimitKind::CreditsPerDay`].
    pub credits_per_day: Credits,
    /// See [`LimitKind::CreditsPerMonth`].
    pub credits_per_month: Credits,
    /// What the account is granted; recharges add to it.
    pub credit_balance: Credits,
}

/// The limits that differ from the tier's for one account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of `Limits`")]
pub struct LimitOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_per_day: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_per_month: Option<Credits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit_balance: Option<Credits>,
}

/// A change of [`LimitOverrides`]: a field that is absent stays, `null` takes the override
/// away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of `Limits`")]
pub struct LimitsPatch {
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<Option<u32>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<Option<u64>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<Option<u64>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub tokens_total: Option<Option<u64>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub credits_per_day: Option<Option<Credits>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub credits_per_month: Option<Option<Credits>>,
    #[serde(deserialize_with = "crate::patch::present", skip_serializing_if = "Option::is_none")]
    pub credit_balance: Option<Option<Credits>>,
}

impl Limits {
    /// These limits with the account's own in their place.
    #[must_use]
    pub fn overridden(&self, own: &LimitOverrides) -> Self {
        Self {
            requests_per_minute: own.requests_per_minute.unwrap_or(self.requests_per_minute),
            tokens_per_day: own.tokens_per_day.unwrap_or(self.tokens_per_day),
            tokens_per_month: own.tokens_per_month.unwrap_or(self.tokens_per_month),
            tokens_total: own.tokens_total.unwrap_or(self.tokens_total),
            credits_per_day: own.credits_per_day.unwrap_or(self.credits_per_day),
            credits_per_month: own.credits_per_month.unwrap_or(self.credits_per_month),
            credit_balance: own.credit_balance.unwrap_or(self.credit_balance),
        }
    }

    /// What is wrong with them, if something is: a limit's name and why.
    pub fn problem(&self) -> Option<(LimitKind, &'static str)> {
        let tokens = [
            (LimitKind::TokensPerDay, self.tokens_per_day),
            (LimitKind::TokensPerMonth, self.tokens_per_month),
            (LimitKind::TokensTotal, self.tokens_total),
        ];
        let credits = [
            (LimitKind::CreditsPerDay, self.credits_per_day),
            (LimitKind::CreditsPerMonth, self.credits_per_month),
            (LimitKind::CreditBalance, self.credit_balance),
        ];
        if self.requests_per_minute > MOST_REQUESTS {
            return Some((LimitKind::RequestsPerMinute, "must be at most 10000"));
        }
        if let Some((kind, _)) = tokens.iter().find(|(_, limit)| *limit > MOST_TOKENS) {
            return Some((*kind, "must be at most 1000000000000"));
        }
        let wrong = |amount: Credits| amount.is_negative() || amount > most_credits();
        let (kind, _) = credits.iter().find(|(_, limit)| wrong(*limit))?;
        Some((*kind, "must be from 0 to 1000000000000"))
    }
}

/// The moments of a minute's requests are kept one by one, in every state of the account that is
/// stored.
const MOST_REQUESTS: u32 = 10_000;

/// No amount of money is larger.
pub fn most_credits() -> Credits {
    Credits::whole(1_000_000_000_000)
}

impl LimitOverrides {
    /// With `patch` applied.
    #[must_use]
    pub fn patched(&self, patch: &LimitsPatch) -> Self {
        Self {
            requests_per_minute: patch.requests_per_minute.unwrap_or(self.requests_per_minute),
            tokens_per_day: patch.tokens_per_day.unwrap_or(self.tokens_per_day),
            tokens_per_month: patch.tokens_per_month.unwrap_or(self.tokens_per_month),
            tokens_total: patch.tokens_total.unwrap_or(self.tokens_total),
            credits_per_day: patch.credits_per_day.unwrap_or(self.credits_per_day),
            credits_per_month: patch.credits_per_month.unwrap_or(self.credits_per_month),
            credit_balance: patch.credit_balance.unwrap_or(self.credit_balance),
        }
    }
}

/// A deployment's rules for accounts, from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaPolicy {
    /// The tiers by name.
    pub tiers: BTreeMap<String, Limits>,
    /// The tier of a new account whose token names none.
    pub default_tier: String,
    /// Tenants with another default.
    pub tenant_default_tiers: BTreeMap<TenantId, String>,
    /// How long a hold lasts at most without a sign of life of its turn.
    pub hold: chrono::TimeDelta,
    /// Tokens held for an answer whose length nobody limited, and the step by which that hold
    /// grows.
    pub answer_step: u32,
}

impl QuotaPolicy {
    /// The tier of a new account: what its token names if there is such a tier, else the
    /// default.
    pub fn tier_for<'a>(&'a self, tenant_id: &TenantId, named: Option<&'a str>) -> &'a str {
        let default = self.tenant_default_tiers.get(tenant_id).unwrap_or(&self.default_tier);
        named.filter(|name| self.tiers.contains_key(*name)).unwrap_or(default)
    }
}
