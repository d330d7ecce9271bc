//! However attempts follow each other, a client that does as it is told has the text.

use chrono::DateTime;
use domain::session::TurnError;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn turn() -> TurnId {
    TurnId(Uuid::nil())
}

fn started(attempt: u32, continued: u64) -> Frame {
    Frame::Started { attempt, at: DateTime::UNIX_EPOCH, continued }
}

fn delta(attempt: u32, sequence: u32, offset: u64, text: &str) -> Frame {
    let delta = Delta { offset, text: text.to_owned(), ..Delta::default() };
    Frame::Delta { attempt, sequence, delta }
}

fn failed(attempt: u32) -> Frame {
    let error = TurnError { code: "x".to_owned(), message: String::new() };
    Frame::ended(attempt, 1, Terminal::Failed { error }, Settlement::default())
}

/// Ids and names of what is told of `frames`.
fn told(teller: &mut Teller, frames: &[Frame]) -> Vec<(String, &'static str)> {
    let told = frames.iter().flat_map(|frame| teller.tell(frame));
    told.map(|told| (told.id(), told.name)).collect()
}

fn named<'a>(events: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    events.iter().map(|(id, name)| ((*id).to_owned(), *name)).collect()
}

#[test]
fn who_has_the_text_keeps_it() {
    let mut teller = Teller::new(turn(), Cursor::default());
    let first = [started(1, 0), delta(1, 1, 0, "one "), delta(1, 2, 4, "two ")];
    assert_eq!(
        told(&mut teller, &first),
        named(&[("1-0", "turn.started"), ("1-1", "delta"), ("1-2", "delta")])
    );
    // Until its first piece is there, nothing is told of the second attempt.
    assert_eq!(teller.tell(&started(2, 4)), []);
    assert_eq!(teller.cursor(), Cursor::after(1, 2));
    let told = teller.tell(&delta(2, 1, 0, "one "));
    assert_eq!((told.len(), told[0].id().as_str(), told[0].name), (1, "2-1", "turn.restarted"));
    assert_eq!(told[0].data["offset"], 4);
    assert_eq!(teller.cursor(), Cursor::after(2, 1));
    assert_eq!(teller.tell(&delta(2, 2, 4, "more"))[0].data["offset"], 4);
}

#[test]
fn who_has_it_not_or_only_in_part_begins_anew() {
    let anew = named(&[("2-0", "turn.restarted"), ("2-1", "delta")]);
    // Came in the middle.
    let mut teller = Teller::new(turn(), Cursor::after(1, 1));
    told(&mut teller, &[delta(1, 2, 4, "two ")]);
    assert_eq!(told(&mut teller, &[started(2, 4), delta(2, 1, 0, "one ")]), anew);
    // Has less, or something else.
    for has in ["on", "two "] {
        let mut teller = Teller::new(turn(), Cursor::default());
        told(&mut teller, &[started(1, 0), delta(1, 1, 0, has)]);
        assert_eq!(told(&mut teller, &[started(2, 4), delta(2, 1, 0, "one ")]), anew);
        // From here on everything is known again.
        let more = [delta(2, 2, 4, "two"), started(3, 7), delta(3, 1, 0, "one two")];
        let expected = named(&[("2-2", "delta"), ("3-1", "turn.restarted")]);
        assert_eq!(told(&mut teller, &more), expected);
    }
}

#[test]
fn a_held_start_is_told_when_the_turn_ends_and_forgotten_for_the_next_attempt() {
    let mut teller = Teller::new(turn(), Cursor::default());
    told(&mut teller, &[started(1, 0), delta(1, 1, 0, "one "), started(2, 4)]);
    let expected = named(&[("2-0", "turn.restarted"), ("2-1000000000", "turn.failed")]);
    assert_eq!(told(&mut teller, &[failed(2)]), expected);

    let mut teller = Teller::new(turn(), Cursor::default());
    told(&mut teller, &[started(1, 0), delta(1, 1, 0, "one "), started(2, 4)]);
    let third = [started(3, 4), delta(3, 1, 0, "one ")];
    assert_eq!(told(&mut teller, &third), named(&[("3-1", "turn.restarted")]));
}

proptest! {
    /// A client that joins deltas and cuts at restarts has the last attempt's text, whatever the
    /// attempts said, how they went on from each other, and where it came in.
    #[test]
    fn a_client_ends_with_the_last_attempts_text(
        attempts in proptest::collection::vec(
            (any::<bool>(), any::<prop::sample::Index>(), proptest::collection::vec("[ab]{1,3}", 0..4)),
            1..5,
        ),
        skip in any::<prop::sample::Index>(),
    ) {
        let (mut frames, mut last) = (Vec::new(), String::new());
        for (number, (goes_on, cut, pieces)) in (1..).zip(&attempts) {
            let kept = cut.index(last.len() + 1);
            let prefix = if *goes_on { last[..kept].to_owned() } else { String::new() };
            frames.push(started(number, prefix.len() as u64));
            let pieces = Some(&prefix).filter(|prefix| !prefix.is_empty()).into_iter().chain(pieces);
            let mut text = String::new();
            for (sequence, piece) in (1..).zip(pieces) {
                frames.push(delta(number, sequence, text.len() as u64, piece));
                text.push_str(piece);
            }
            last = text;
        }
        let from = skip.index(frames.len());
        let (seen, rest) = frames.split_at(from);
        let mut client = String::new();
        let mut cursor = Cursor::default();
        if let Some(frame) = seen.last() {
            cursor = Cursor::after(frame.place().0, frame.place().1);
            for frame in seen {
                match frame {
                    Frame::Delta { delta, .. } => client.push_str(&delta.text),
                    _ => client.clear(),
                }
            }
        }
        let mut teller = Teller::new(turn(), cursor);
        for told in rest.iter().flat_map(|frame| teller.tell(frame)) {
            let offset = told.data["offset"].as_u64();
            match told.name {
                "delta" => {
                    prop_assert_eq!(offset, Some(client.len() as u64));
                    client.push_str(told.data["text"].as_str().unwrap());
                }
                "turn.restarted" => client.truncate(usize::try_from(offset.unwrap()).unwrap()),
                _ => client.clear(),
            }
        }
        // A start that goes on may still be held back: its text is told by nobody yet.
        if teller.held.is_none() {
            prop_assert_eq!(client, last);
        }
    }
}
