//! What counts for which day.

use chrono::Days;
use domain::quota::Amount;

use super::*;
use crate::event::Event;
use crate::testing::accounts::{account, consumed, credits, opened, posting, repriced};
use crate::testing::{at, fold, log, table, wanted};

const DAY: i64 = 86_400;

fn story(price: &str) -> Vec<(u128, QuotaEvent)> {
    vec![
        (1, opened()),
        (1, consumed(20, price, at(5))),
        (1, consumed(21, "1", at(DAY - 1))),
        (1, consumed(22, "1", at(DAY))),
        (2, consumed(23, "1", at(7))),
    ]
}

fn by_day(log: &[Event]) -> Vec<UsageRow> {
    let mut rows = fold::<UsageDaily>(log);
    rows.sort_by_key(|row| (row.account_id, row.day));
    rows
}

#[test]
fn a_day_adds_up() {
    let rows = by_day(&log(story("2.5")));
    let first = at(0).date_naive();
    let found: Vec<_> =
        rows.iter().map(|row| (row.account_id, row.day, row.requests, row.credits)).collect();
    let expected = [
        (account(1), first, 2, credits("3.5")),
        (account(1), first + Days::new(1), 1, credits("1")),
        (account(2), first, 1, credits("1")),
    ];
    assert_eq!(found, expected);
    let row = &rows[0];
    assert_eq!((row.prompt_tokens, row.completion_tokens, row.most_tokens), (6, 10, 8));
    assert_eq!((row.service.as_str(), row.model.as_str()), ("chat", "m-1"));
    assert_eq!((row.estimated_requests, row.last_position), (0, 3));
}

#[test]
fn the_parts_of_usage_are_counted() {
    let mut event = consumed(20, "1", at(5));
    if let QuotaEvent::QuotaConsumed { usage, .. } = &mut event {
        *usage = Usage {
            prompt_tokens: 30,
            completion_tokens: 50,
            cached_tokens: 10,
            reasoning_tokens: 40,
            estimated: true,
        };
    }
    let row = by_day(&log(vec![(1, consumed(19, "1", at(5))), (1, event)])).remove(0);
    assert_eq!((row.cached_tokens, row.reasoning_tokens), (10, 40));
    assert_eq!((row.estimated_requests, row.most_tokens, row.requests), (1, 80, 2));
}

#[test]
fn a_corrected_price_counts_as_if_it_had_been_right_at_once() {
    let right = by_day(&log(story("2")));
    let mut wrong = story("2.5");
    wrong.push((1, repriced(20, "0.5", at(5))));
    let corrected = by_day(&log(wrong));
    let content = |rows: &[UsageRow]| {
        let rows = rows.iter().map(|row| UsageRow { last_position: 0, ..row.clone() });
        serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(content(&corrected), content(&right));
    assert_eq!(corrected[0].last_position, 6);
}

#[test]
fn models_and_services_are_told_apart() {
    let mut other = consumed(21, "1", at(5));
    if let QuotaEvent::QuotaConsumed { service, amount, .. } = &mut other {
        "writing".clone_into(service);
        *amount = Amount::default();
    }
    let rows = fold::<UsageDaily>(&log(vec![(1, consumed(20, "1", at(5))), (1, other)]));
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_plain_correction_is_no_use_and_one_of_nothing_is_parked() {
    let mut plain = repriced(20, "1", at(5));
    if let QuotaEvent::AdjustmentPosted { reprices, posting: line, .. } = &mut plain {
        (*reprices, *line) = (None, posting(3, "1", "1"));
    }
    let (rows, parked) = table::<UsageDaily>(&[&log(vec![(1, plain)])]);
    assert!(rows.is_empty() && parked.is_empty());
    let (rows, parked) = table::<UsageDaily>(&[&log(vec![(1, repriced(20, "1", at(5)))])]);
    assert!(rows.is_empty() && parked[0].error.contains("no row"));
}

#[test]
fn a_day_s_row_is_loaded() {
    let log = log(vec![(1, consumed(20, "1", at(5))), (1, repriced(20, "1", at(5)))]);
    assert_eq!(wanted::<UsageDaily>(&log).len(), 1);
}
