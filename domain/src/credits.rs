//! Money: exact decimals, never floats.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of money in the deployment's own unit, credits. May be negative (a charge, a
/// debt).
///
/// Whatever is computed stays an amount that can be read again: it saturates below 10¹³, which
/// no account comes near. Written as a JSON string, so that no reader turns it into a float; a
/// number is read, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(Decimal);

/// A text that is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a decimal number with at most {SCALE} places, below 10^{DIGITS}")]
pub struct InvalidCredits;

/// Decimal places: a price of nine places for a thousand tokens has twelve for one.
const SCALE: u32 = 12;
/// Digits before the point.
const DIGITS: u32 = 13;
/// The greatest amount: 10²⁵ - 1 units of the last place, in three words of 32 bits.
const MOST: Decimal = Decimal::from_parts(0x49ff_ffff, 0x1614_0148, 0x0008_4595, false, SCALE);

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    fn bounded(amount: Decimal) -> Self {
        Self(amount.clamp(-MOST, MOST).normalize())
    }

    /// `units` whole credits.
    pub fn whole(units: i64) -> Self {
        Self::bounded(Decimal::from(units))
    }

    /// `self` for each of `count`; a fraction of the last place counts as a whole one.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        let product = self.0.saturating_mul(Decimal::from(count));
        Self::bounded(product.round_dp_with_strategy(SCALE, RoundingStrategy::ToPositiveInfinity))
    }

    /// The thousandth part, exact: for [`Self::times`], which brings it back to the places
    /// that an amount has.
    #[must_use]
    pub fn per_thousand(self) -> Self {
        Self((self.0 * Decimal::new(1, 3)).normalize())
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::bounded(self.0.saturating_add(other.0))
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::bounded(self.0.saturating_sub(other.0))
    }

    /// The same with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self((-self.0).normalize())
    }

    /// `self`, or zero if it is less.
    #[must_use]
    pub fn or_zero(self) -> Self {
        self.max(Self::ZERO)
    }

    /// The whole units, for amounts that count something; 0 for less.
    pub fn as_count(self) -> u64 {
        self.0.trunc().to_u64().unwrap_or(0)
    }

    /// Whether it is more than zero.
    pub fn is_positive(self) -> bool {
        self > Self::ZERO
    }

    /// Whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self < Self::ZERO
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl std::iter::Sum for Credits {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl FromStr for Credits {
    type Err = InvalidCredits;

    fn from_str(text: &str) -> Result<Self, InvalidCredits> {
        let amount = Decimal::from_str_exact(text)
            .or_else(|_| Decimal::from_scientific(text))
            .map_err(|_| InvalidCredits)?
            .normalize();
        if amount.scale() > SCALE || amount.abs() > MOST {
            return Err(InvalidCredits);
        }
        Ok(Self(amount))
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credits({})", self.0)
    }
}

impl Serialize for Credits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;

        impl Visitor<'_> for Amount {
            type Value = Credits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of credits, as \"12.5\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Credits, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Credits, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Credits, E> {
                self.visit_str(&number.to_string())
            }

            /// A float prints as the shortest decimal that means it: what the writer wrote.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Credits, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    #[test]
    fn sums_are_exact() {
        let sum: Credits = std::iter::repeat_n(credits("0.1"), 10).sum();
        assert_eq!(sum, Credits::whole(1));
        assert_eq!(sum.to_string(), "1");
        assert_eq!(credits("0.000000150").per_thousand().times(1000), credits("0.00000015"));
    }

    #[test]
    fn it_is_written_as_text_and_read_from_numbers_too() {
        assert_eq!(serde_json::to_string(&credits("1.50")).unwrap(), "\"1.5\"");
        for json in ["\"0.1\"", "0.1", "1e-1"] {
            assert_eq!(serde_json::from_str::<Credits>(json).unwrap(), credits("0.1"), "{json}");
        }
    }

    #[test]
    fn whatever_is_computed_can_be_read_again() {
        let most = credits("9999999999999.999999999999");
        assert_eq!(most, Credits(MOST));
        for amount in [
            most.plus(most),
            most.negated().minus(most),
            most.times(u64::MAX),
            Credits::whole(i64::MIN),
            credits("0.000000000001").per_thousand().times(1),
            Credits::ZERO.negated(),
        ] {
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        assert_eq!(credits("0.000000000001").per_thousand().times(1001), credits("2e-12"));
        assert_eq!(Credits::ZERO.negated().to_string(), "0");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", "abc", "NaN", "inf", "1e400", "10000000000000", "0.0000000000001", "1,5"] {
            assert!(bad.parse::<Credits>().is_err(), "{bad} was taken");
        }
    }
}
