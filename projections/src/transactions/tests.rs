//! The lines that events make.

use domain::quota::{Amount, ResetScope};

use super::*;
use crate::testing::accounts::{
    account, admin, consumed, credits, opened, posting, repriced, reserved, suspended,
};
use crate::testing::{at, fold, log, turn, wanted};

fn lines(events: Vec<QuotaEvent>) -> Vec<TransactionRow> {
    let log = log(events.into_iter().map(|event| (1, event)).collect());
    assert!(wanted::<Transactions>(&log).is_empty());
    fold::<Transactions>(&log)
}

fn reset(scope: ResetScope, posting: Posting) -> QuotaEvent {
    QuotaEvent::QuotaReset { scope, posting, reason: "asked".to_owned(), by: admin(), at: at(9) }
}

#[test]
fn every_change_of_the_balance_is_a_line() {
    let recharged = QuotaEvent::QuotaRecharged {
        entry_id: Uuid::from_u128(5),
        posting: posting(100, "5", "13.5"),
        reason: "paid\0".to_owned(),
        by: admin(),
        at: at(6),
    };
    let lines = lines(vec![
        opened(),
        reserved(20, 300),
        consumed(20, "1.5", at(5)),
        recharged,
        repriced(20, "0.5", at(5)),
        suspended(7, "late"),
        reset(ResetScope::Day, posting(0, "0", "14")),
        reset(ResetScope::Balance, posting(-100, "-4", "10")),
    ]);
    let kinds: Vec<_> = lines.iter().map(|line| (line.position, line.kind.as_str())).collect();
    let expected =
        [(1, "grant"), (3, "consumption"), (4, "recharge"), (5, "adjustment"), (8, "reset")];
    assert_eq!(kinds, expected);
    let sum: Credits = lines.iter().map(|line| line.credits).sum();
    assert_eq!(sum, credits("10"));
    assert_eq!((lines[2].tokens, lines[2].reason.as_deref()), (100, Some("paid\u{FFFD}")));
    assert_eq!(
        (lines[2].by_user.clone(), lines[2].entry_id),
        (Some(admin()), Some(Uuid::from_u128(5)))
    );
    assert_eq!(lines[4].transaction_id, Uuid::from_u128(1008));
}

#[test]
fn consumption_says_of_what() {
    let line = lines(vec![consumed(20, "1.5", at(5))]).remove(0);
    assert_eq!((line.account_id, line.turn_id), (account(1), Some(turn(20))));
    assert_eq!((line.service.as_deref(), line.model.as_deref()), (Some("chat"), Some("m-1")));
    assert_eq!((line.tokens, line.credits), (-8, credits("-1.5")));
    assert_eq!((line.balance_tokens, line.balance_credits), (-8, credits("-1.5")));
    assert_eq!((line.estimated, line.late, line.overdrawn_tokens), (false, true, 2));
    assert_eq!(line.usage.map(|usage| usage.total_tokens()), Some(8));
    assert!(line.price.is_some() && line.reason.is_none());
}

#[test]
fn what_costs_nothing_is_a_line_too() {
    let mut free = consumed(20, "0", at(5));
    if let QuotaEvent::QuotaConsumed { posting, amount, .. } = &mut free {
        (*posting, *amount) = (Posting::default(), Amount::default());
    }
    assert_eq!(lines(vec![free]).len(), 1);
}

#[test]
fn a_correction_names_what_it_corrects() {
    let line = lines(vec![repriced(20, "0.5", at(5))]).remove(0);
    assert_eq!((line.reprices, line.entry_id), (Some(turn(20).0), Some(Uuid::from_u128(77))));
    assert_eq!(line.model.as_deref(), Some("m-1"));
    assert_eq!((line.usage, line.turn_id), (None, None));
}
