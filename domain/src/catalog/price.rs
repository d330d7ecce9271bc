//! Which price is which.

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

use super::CATALOG_ID;
use super::command::NewPrice;
use crate::prices::PriceBook;

/// The id of the model's price with this number. It follows from what it names, so that
/// deciding again gives the same.
pub(super) fn id(model: &str, number: usize) -> Uuid {
    Uuid::new_v5(&CATALOG_ID, format!("{model}/{number}").as_bytes())
}

/// Whether what `new` asks for is so already.
pub(super) fn holds(book: &PriceBook, new: &NewPrice, now: DateTime<Utc>) -> bool {
    let from = new.from.map(|from| from.trunc_subsecs(6));
    let there = book.at(&new.service, &new.model, from.unwrap_or(now));
    there.is_some_and(|there| {
        there.service == new.service
            && there.price == new.price()
            && from.is_none_or(|from| there.from == from)
    })
}
