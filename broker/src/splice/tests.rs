//! Whatever the network does to frames, a watcher takes each once and in order.

use broker_frames::{delta, ended, started};
use proptest::prelude::*;

use super::{Cursor, Spliced, splice};
use crate::frame::Frame;

mod broker_frames {
    use crate::frame::{Delta, Frame, Settlement, Terminal};
    use chrono::DateTime;
    use domain::session::TurnError;

    pub(super) fn started(attempt: u32) -> Frame {
        Frame::Started { attempt, at: DateTime::UNIX_EPOCH, continued: 0 }
    }

    pub(super) fn delta(attempt: u32, sequence: u32) -> Frame {
        Frame::Delta { attempt, sequence, delta: Delta::default() }
    }

    pub(super) fn ended(attempt: u32, sequence: u32) -> Frame {
        let error = TurnError { code: "x".to_owned(), message: String::new() };
        let (position, settlement) = (1, Settlement::default());
        Frame::Ended {
            attempt,
            sequence,
            position,
            terminal: Terminal::Failed { error },
            settlement,
        }
    }
}

fn whole(attempt: u32, deltas: u32) -> Vec<Frame> {
    let mut frames = vec![started(attempt)];
    frames.extend((1..=deltas).map(|sequence| delta(attempt, sequence)));
    frames.push(ended(attempt, deltas + 1));
    frames
}

#[test]
fn a_hole_is_seen() {
    let mut cursor = Cursor::default();
    assert_eq!(splice(&mut cursor, &started(1)), Spliced::Next);
    assert_eq!(splice(&mut cursor, &delta(1, 2)), Spliced::Gap);
    assert_eq!(splice(&mut cursor, &delta(1, 1)), Spliced::Next);
    assert_eq!(splice(&mut cursor, &delta(1, 2)), Spliced::Next);
}

#[test]
fn a_new_attempt_begins_at_its_start() {
    let mut cursor = Cursor::after(1, 7);
    assert_eq!(splice(&mut cursor, &delta(2, 1)), Spliced::Gap);
    assert_eq!(splice(&mut cursor, &started(2)), Spliced::Next);
    assert_eq!(splice(&mut cursor, &delta(1, 8)), Spliced::Old);
    assert_eq!(splice(&mut cursor, &delta(2, 1)), Spliced::Next);
}

#[test]
fn an_end_without_a_word_ends_any_watch() {
    for mut cursor in [Cursor::default(), Cursor::after(1, 3)] {
        assert_eq!(splice(&mut cursor, &ended(1, Frame::LAST)), Spliced::Next);
    }
}

proptest! {
    /// Frames come doubled and out of order; missing ones are fetched from a whole copy, as
    /// a watch does. What is taken is the whole stream, once.
    #[test]
    fn every_frame_is_taken_once_and_in_order(
        deltas in 0_u32..20,
        skip in 0_u32..20,
        order in proptest::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let stored = whole(1, deltas);
        let mut cursor = if skip == 0 { Cursor::default() } else { Cursor::after(1, skip.min(deltas)) };
        let first = cursor.next;
        let mut taken = Vec::new();
        let live: Vec<Frame> =
            order.iter().map(|index| index.get(&stored).clone()).chain(stored.last().cloned()).collect();
        for frame in live {
            match splice(&mut cursor, &frame) {
                Spliced::Next => taken.push(frame.place().1),
                Spliced::Old => {}
                Spliced::Gap => {
                    let missing = stored.iter().filter(|frame| splice(&mut cursor, frame) == Spliced::Next);
                    taken.extend(missing.map(|frame| frame.place().1));
                }
            }
        }
        prop_assert_eq!(taken, (first..=deltas + 1).collect::<Vec<_>>());
    }
}
