//! An account's row, event by event.

use domain::ReservationId;

use super::*;
use crate::event::{Body, Event};
use crate::testing::accounts::{
    account, activated, consumed, credits, opened, repriced, reserved, suspended,
};
use crate::testing::{at, fold, log, turn, wanted};

fn story() -> Vec<Event> {
    log(vec![
        (1, opened()),
        (1, reserved(20, 300)),
        (2, opened()),
        (1, reserved(21, 200)),
        (1, consumed(21, "1.5", at(5))),
        (1, suspended(6, "late payment")),
        (1, repriced(21, "0.5", at(5))),
    ])
}

#[test]
fn the_state_is_the_fold_of_the_account_s_events() {
    let log = story();
    let rows = fold::<Accounts>(&log);
    for row in &rows {
        let events = log.iter().filter_map(|event| match &event.body {
            Body::Account(id, event) if *id == row.account_id => Some(&**event),
            _ => None,
        });
        assert_eq!(row.state, Account::fold(events));
    }
    assert_eq!((rows[0].user_id.as_str(), rows[0].tier.as_str()), ("ann", "free"));
    assert_eq!((rows[0].suspended, rows[1].suspended), (true, false));
    assert_eq!((rows[0].last_position, rows[1].last_position), (7, 3));
    assert_eq!((rows[0].opened_at, rows[0].updated_at), (at(0), at(400_000)));
    assert_eq!(rows[1].state.balance.credits, credits("10"));
}

#[test]
fn the_first_hold_that_counts_is_told() {
    let log = story();
    let next = |events: &[Event]| fold::<Accounts>(events)[0].next_expiry;
    assert_eq!(next(&log[..1]), None);
    assert_eq!(next(&log[..4]), Some(at(200)));
    assert_eq!(next(&log), Some(at(300)));
    let reservation_id = ReservationId::from(turn(20));
    let expired = QuotaEvent::ReservationExpired { reservation_id, at: at(301) };
    let over = crate::testing::log(vec![(1, opened()), (1, reserved(20, 300)), (1, expired)]);
    assert_eq!(next(&over), None);
}

#[test]
fn a_suspension_ends() {
    let rows = fold::<Accounts>(&log(vec![
        (1, opened()),
        (1, suspended(6, "a\0b")),
        (2, opened()),
        (2, suspended(6, "c")),
        (2, activated(7)),
    ]));
    assert_eq!(rows[0].state.suspended.as_deref(), Some("a\u{FFFD}b"));
    assert!(!rows[1].suspended);
}

#[test]
fn accounts_of_the_batch_are_not_loaded() {
    let log = log(vec![(1, opened()), (1, activated(1)), (2, activated(1))]);
    assert_eq!(wanted::<Accounts>(&log), [account(2).0]);
}
