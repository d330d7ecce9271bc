//! One clean text, or an end with an error.

use broker::ToolCallDelta;
use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Delta {
    Delta { text: text.to_owned(), ..Delta::default() }
}

fn thought(reasoning: &str) -> Delta {
    Delta { reasoning: reasoning.to_owned(), ..Delta::default() }
}

#[test]
fn what_is_repeated_is_sent_once() {
    let mut rejoin = Rejoin::default();
    rejoin.take(&thought("hm")).unwrap();
    assert_eq!(rejoin.take(&text("one tw")).unwrap().unwrap().text, "one tw");
    rejoin.restart(false).unwrap();
    assert_eq!(rejoin.take(&thought("h")), Ok(None));
    assert_eq!(rejoin.take(&thought("mm")).unwrap().unwrap().reasoning, "m");
    assert_eq!(rejoin.take(&text("one ")), Ok(None));
    let rest = rejoin.take(&Delta { offset: 4, ..text("two ünd") }).unwrap().unwrap();
    assert_eq!((rest.text.as_str(), rest.offset), ("o ünd", 6));
    assert_eq!(rejoin.finish(), Ok(()));
}

#[test]
fn another_text_a_shorter_one_and_another_thought_are_told_apart() {
    let begun = || {
        let mut rejoin = Rejoin::default();
        rejoin.take(&thought("hm")).unwrap();
        rejoin.take(&text("one two")).unwrap();
        rejoin.restart(false).unwrap();
        rejoin
    };
    assert_eq!(begun().take(&text("one three")), Err(Diverged));
    assert_eq!(begun().take(&text("one, two and more")), Err(Diverged));
    assert_eq!(begun().take(&thought("ha")), Err(Diverged));
    let mut shorter = begun();
    shorter.take(&thought("hm")).unwrap();
    shorter.take(&text("one")).unwrap();
    assert_eq!(shorter.finish(), Err(Diverged));
}

#[test]
fn an_attempt_that_goes_on_need_not_think_again() {
    let mut rejoin = Rejoin::default();
    rejoin.take(&thought("hm")).unwrap();
    rejoin.take(&text("one two")).unwrap();
    rejoin.restart(true).unwrap();
    assert_eq!(rejoin.take(&text("one two")), Ok(None));
    assert_eq!(rejoin.take(&text(" three")).unwrap().unwrap().text, " three");
    assert_eq!(rejoin.finish(), Ok(()));
}

#[test]
fn tool_calls_are_not_joined() {
    let call = ToolCallDelta { index: 0, id: None, name: None, arguments: "{".to_owned() };
    let mut rejoin = Rejoin::default();
    let delta = Delta { tool_calls: vec![call], ..Delta::default() };
    assert_eq!(rejoin.take(&delta), Ok(Some(delta)));
    assert_eq!(rejoin.restart(false), Err(Diverged));
    assert_eq!(rejoin.finish(), Ok(()));
}

proptest! {
    /// However attempts cut their texts, what was sent is always a beginning of what the last one
    /// said, and all of it if nothing diverged.
    #[test]
    fn what_is_sent_is_what_the_last_attempt_said(
        attempts in proptest::collection::vec(
            proptest::collection::vec("[aü]{0,3}", 0..6), 1..5,
        ),
    ) {
        let (mut rejoin, mut sent) = (Rejoin::default(), String::new());
        for (number, pieces) in attempts.iter().enumerate() {
            let whole = pieces.concat();
            if number > 0 {
                rejoin.restart(false).unwrap();
            }
            let before = sent.clone();
            let taken: Result<Vec<_>, _> = pieces.iter().map(|piece| rejoin.take(&text(piece))).collect();
            let Ok(taken) = taken else {
                prop_assert!(!whole.starts_with(&before) && !before.starts_with(&whole));
                return Ok(());
            };
            sent.extend(taken.into_iter().flatten().map(|delta| delta.text));
            prop_assert!(sent.starts_with(&before), "nothing is taken back");
            prop_assert_eq!(rejoin.finish().is_ok(), sent == whole);
            if sent != whole {
                prop_assert!(before.starts_with(&whole) && sent == before);
            }
        }
    }
}
