use super::*;
use crate::provider::ErrorClass;

fn failed(rest: &Rest, class: ErrorClass) {
    rest.ask("a");
    rest.learn("a", Some(&ProviderError::new(class, "no")));
}

#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_are_enough_for_a_while() {
    let rest = Rest::default();
    for _ in 0..2 {
        failed(&rest, ErrorClass::Timeout);
        assert!(!rest.holds("a"));
    }
    rest.learn("a", None);
    for _ in 0..2 {
        failed(&rest, ErrorClass::Unavailable);
    }
    failed(&rest, ErrorClass::Unauthorized);
    failed(&rest, ErrorClass::Network);
    assert!(!rest.holds("a"), "in between it answered");
    for _ in 0..2 {
        failed(&rest, ErrorClass::Network);
    }
    assert!(rest.holds("a") && !rest.holds("b"));
    tokio::time::advance(PAUSE).await;
    assert!(!rest.holds("a"));
}

#[tokio::test(start_paused = true)]
async fn one_looks_whether_it_is_well_again() {
    let rest = Rest::default();
    for _ in 0..3 {
        failed(&rest, ErrorClass::Timeout);
    }
    tokio::time::advance(PAUSE).await;
    assert!(!rest.holds("a"));
    rest.ask("a");
    assert!(rest.holds("a"), "for all others");
    rest.learn("a", None);
    assert!(!rest.holds("a"));
}
