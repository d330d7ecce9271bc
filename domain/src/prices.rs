//! What usage costs: prices by service and model, each with the time from which it holds.

pub mod written;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::completion::Usage;
use crate::credits::Credits;

/// The service whose prices hold for services that have none of their own.
pub const ANY_SERVICE: &str = "*";

/// What a thousand tokens cost. What people write is read by [`written`], strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Price {
    /// Of the prompt.
    pub input_per_1k: Credits,
    /// Of the prompt, from the provider's cache; none if as the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_per_1k: Option<Credits>,
    /// Of the answer, reasoning included.
    pub output_per_1k: Credits,
}

impl Price {
    /// What `usage` costs: exact for a price of at most nine places, and the catalog takes no
    /// others. Of a finer one, each kind of tokens is rounded up at the twelfth place.
    pub fn cost(&self, usage: &Usage) -> Credits {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let cached_price = self.cached_input_per_1k.unwrap_or(self.input_per_1k);
        let of = |price: Credits, tokens: u32| price.per_thousand().times(u64::from(tokens));
        of(self.input_per_1k, usage.prompt_tokens - cached)
            .plus(of(cached_price, cached))
            .plus(of(self.output_per_1k, usage.completion_tokens))
    }

    /// What `prompt` and `answer` tokens cost at most, whatever is cached.
    pub fn most(&self, prompt: u32, answer: u32) -> Credits {
        let usage = Usage { prompt_tokens: prompt, completion_tokens: answer, ..Usage::default() };
        let all_cached = Usage { cached_tokens: prompt, ..usage };
        self.cost(&usage).max(self.cost(&all_cached))
    }
}

/// A price and the time from which it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceEntry {
    /// Its id.
    pub price_id: Uuid,
    /// The service, or [`ANY_SERVICE`].
    pub service: String,
    /// The model's name.
    pub model: String,
    /// The price.
    pub price: Price,
    /// From when on; may lie in the past, as a correction.
    pub from: DateTime<Utc>,
}

/// All prices that were ever set, in the order in which they were.
///
/// A price holds from its time on, until one that was set for a later time. One that reaches
/// back is a correction: it takes the place of all that held between then and now. What was set
/// for the future stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceBook {
    by_model: BTreeMap<String, Prices>,
}

/// The prices of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Prices {
    /// All of them.
    set: Vec<PriceEntry>,
    /// Those whose place another one took.
    replaced: BTreeSet<Uuid>,
}

impl PriceBook {
    /// Takes in a price that was set at `now`.
    pub fn set(&mut self, entry: PriceEntry, now: DateTime<Utc>) {
        let prices = self.by_model.entry(entry.model.clone()).or_default();
        let corrected = prices.set.iter().filter(|earlier| {
            let reached = entry.from <= earlier.from && earlier.from <= now.max(entry.from);
            earlier.service == entry.service && reached
        });
        prices.replaced.extend(corrected.map(|earlier| earlier.price_id));
        prices.set.push(entry);
    }

    /// The price that holds for `service` and `model` at `at`; none if usage is free.
    pub fn at(&self, service: &str, model: &str, at: DateTime<Utc>) -> Option<&PriceEntry> {
        let prices = self.by_model.get(model)?;
        let of = |service: &str| {
            let holding = prices.set.iter().filter(|entry| {
                let replaced = prices.replaced.contains(&entry.price_id);
                entry.service == service && entry.from <= at && !replaced
            });
            holding.max_by_key(|entry| entry.from)
        };
        of(service).or_else(|| of(ANY_SERVICE))
    }

    /// The prices of `model`, in the order in which they were set.
    pub fn of_model(&self, model: &str) -> &[PriceEntry] {
        self.by_model.get(model).map_or(&[], |prices| &prices.set)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn entry(service: &str, input: &str, days: i64) -> PriceEntry {
        let price = Price { input_per_1k: credits(input), ..Price::default() };
        let price_id = Uuid::from_u128(input.bytes().map(u128::from).sum());
        let (service, model) = (service.to_owned(), "m".to_owned());
        PriceEntry { price_id, service, model, price, from: day(days) }
    }

    fn day(days: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(days)
    }

    fn input(book: &PriceBook, service: &str, days: i64) -> Option<String> {
        let entry = book.at(service, "m", day(days));
        entry.map(|entry| entry.price.input_per_1k.to_string())
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = Price {
            input_per_1k: credits("0.15"),
            cached_input_per_1k: Some(credits("0.075")),
            output_per_1k: credits("0.6"),
        };
        let usage = Usage {
            prompt_tokens: 1000,
            cached_tokens: 400,
            completion_tokens: 10,
            ..Usage::default()
        };
        assert_eq!(price.cost(&usage), credits("0.126"));
        assert_eq!(price.most(1000, 10), credits("0.156"));
    }

    #[test]
    fn the_newest_price_that_holds_counts() {
        let mut book = PriceBook::default();
        book.set(entry(ANY_SERVICE, "1", 0), day(0));
        book.set(entry("writing", "2", 1), day(1));
        assert_eq!(input(&book, "writing", 0).as_deref(), Some("1"));
        assert_eq!(input(&book, "writing", 2).as_deref(), Some("2"));
        assert_eq!(input(&book, "chat", 2).as_deref(), Some("1"));
        assert_eq!(input(&book, "chat", -1), None);
        book.set(entry(ANY_SERVICE, "3", 0), day(2));
        assert_eq!(input(&book, "chat", 0).as_deref(), Some("3"));
        assert!(book.at("chat", "other", day(0)).is_none());
    }

    #[test]
    fn a_correction_takes_the_place_of_what_held_since() {
        let mut book = PriceBook::default();
        book.set(entry(ANY_SERVICE, "7", 5), day(5));
        book.set(entry(ANY_SERVICE, "8", 6), day(6));
        book.set(entry(ANY_SERVICE, "9", 20), day(7));
        book.set(entry(ANY_SERVICE, "1", 2), day(8));
        for (days, price) in [(1, None), (2, Some("1")), (10, Some("1")), (20, Some("9"))] {
            assert_eq!(input(&book, "chat", days).as_deref(), price, "day {days}");
        }
        assert_eq!(book.of_model("m").len(), 4);
    }

    /// What is to come may be set in any order.
    #[test]
    fn a_price_for_later_changes_nothing_before() {
        let mut book = PriceBook::default();
        book.set(entry(ANY_SERVICE, "2", 20), day(0));
        book.set(entry(ANY_SERVICE, "1", 10), day(1));
        assert_eq!(input(&book, "chat", 15).as_deref(), Some("1"));
        assert_eq!(input(&book, "chat", 25).as_deref(), Some("2"));
        book.set(entry(ANY_SERVICE, "3", 10), day(2));
        assert_eq!(input(&book, "chat", 15).as_deref(), Some("3"));
    }
}
