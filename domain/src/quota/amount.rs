//! What is counted: tokens and money together.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;

/// Tokens and what they cost; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Tokens.
    pub tokens: u64,
    /// Money.
    pub credits: Credits,
}

impl Amount {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            credits: self.credits.plus(other.credits),
        }
    }

    /// What is left after `other`, not below nothing.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            credits: self.credits.minus(other.credits).or_zero(),
        }
    }
}

/// Tokens and money, each of either sign: a line or the sum of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sum {
    /// Tokens.
    pub tokens: i64,
    /// Money.
    pub credits: Credits,
}

impl Sum {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            credits: self.credits.plus(other.credits),
        }
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    /// The same with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { tokens: self.tokens.saturating_neg(), credits: self.credits.negated() }
    }

    /// Whether it changes nothing.
    pub fn is_zero(self) -> bool {
        self.tokens == 0 && self.credits.is_zero()
    }
}

impl From<Amount> for Sum {
    fn from(amount: Amount) -> Self {
        Self { tokens: i64::try_from(amount.tokens).unwrap_or(i64::MAX), credits: amount.credits }
    }
}

/// How much of something: requests and tokens are JSON numbers, credits a decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Requests or tokens.
    Count(u64),
    /// Money.
    Credits(Credits),
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Credits(credits) => credits.fmt(f),
        }
    }
}
