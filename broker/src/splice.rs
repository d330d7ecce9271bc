//! Joining stored and live frames into one stream without a hole or a double.

use crate::frame::Frame;

/// What a watcher has seen: everything of `attempt` before `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The attempt; 0 before the first one.
    pub attempt: u32,
    /// The sequence it waits for.
    pub next: u32,
}

impl Cursor {
    /// The cursor of a watcher whose last frame was `sequence` of `attempt`.
    pub fn after(attempt: u32, sequence: u32) -> Self {
        Self { attempt, next: sequence.saturating_add(1) }
    }
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spliced {
    /// It is the next one; the cursor has moved.
    Next,
    /// It was seen, or belongs to an attempt that was given up.
    Old,
    /// Something before it is missing.
    Gap,
}

/// Places `frame` after `cursor`.
pub fn splice(cursor: &mut Cursor, frame: &Frame) -> Spliced {
    let (attempt, sequence) = frame.place();
    if attempt < cursor.attempt || (attempt == cursor.attempt && sequence < cursor.next) {
        return Spliced::Old;
    }
    let expected = if attempt == cursor.attempt { cursor.next } else { 0 };
    if sequence == expected || sequence == Frame::LAST {
        *cursor = Cursor::after(attempt, sequence);
        Spliced::Next
    } else {
        Spliced::Gap
    }
}

#[cfg(test)]
mod tests;
