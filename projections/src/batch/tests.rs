//! Parking: one stream stops, the others go on.

use crate::accounts::Accounts;
use crate::event::{Body, Event};
use crate::messages::Messages;
use crate::sessions::Sessions;
use crate::testing::accounts::{activated, opened};
use crate::testing::{Told, created, log, sent, session, table};
use crate::turns::Turns;

fn poisoned() -> Vec<Event> {
    let mut log = log(vec![
        (1, created(false)),
        (2, created(false)),
        (1, sent(10, "before")),
        (1, sent(11, "poison")),
        (2, sent(12, "b")),
        (1, sent(13, "after")),
    ]);
    log[3].body = Body::Undecodable("broken".to_owned());
    log
}

#[test]
fn a_poison_event_stops_its_stream_and_no_other() {
    let log = poisoned();
    for cut in 0..log.len() {
        let (before, after) = log.split_at(cut);
        let (rows, parked) = table::<Sessions>(&[before, after]);
        let previews: Vec<_> = rows.iter().map(|row| row.last_message_preview.clone()).collect();
        assert_eq!(previews, [Some("before".to_owned()), Some("b".to_owned())]);
        let parked: Vec<_> = parked.iter().map(|event| (event.position, event.first)).collect();
        assert_eq!(parked, [(4, true), (6, false)]);
    }
}

#[test]
fn an_event_about_nothing_is_poison() {
    let (rows, parked) = table::<Sessions>(&[&log(vec![(9, sent(1, "a"))])]);
    assert!(rows.is_empty());
    assert_eq!(parked[0].stream.aggregate_id, session(9).to_string());
    assert!(parked[0].first && parked[0].error.contains("no row"));
}

#[test]
fn what_no_read_model_is_made_from_is_nobody_s_business_here() {
    let mut log = log(vec![(1, sent(1, "a"))]);
    log[0].aggregate_type = "catalog".to_owned();
    log[0].body = Body::Foreign;
    let (rows, parked) = table::<Sessions>(&[&log]);
    assert!(rows.is_empty() && parked.is_empty());
}

#[test]
fn an_event_is_poison_only_where_its_kind_is_wanted() {
    let told: Vec<(u128, Told)> = vec![(1, created(false).into()), (2, opened().into())];
    let mut log = log(told);
    log[1].body = Body::Undecodable("broken".to_owned());
    assert!(table::<Sessions>(&[&log]).1.is_empty());
    assert!(table::<Messages>(&[&log]).1.is_empty());
    assert_eq!(table::<Turns>(&[&log]).1[0].position, 2);
    assert_eq!(table::<Accounts>(&[&log]).1[0].error, "broken");
}

#[test]
fn an_account_that_nobody_opened_is_poison() {
    let (rows, parked) = table::<Accounts>(&[&log(vec![(9, activated(1))])]);
    assert!(rows.is_empty());
    assert!(parked[0].first && parked[0].error.contains("no row"));
}
