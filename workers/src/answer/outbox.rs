//! What was taken in of an answer but not sent yet, cut into frames that NATS can carry.

use std::collections::VecDeque;

use broker::{Delta, ToolCallDelta};

/// A frame holds about so many bytes at most, whatever a provider sends in one piece: NATS
/// carries messages of one MiB.
const FRAME: usize = 64 * 1024;

/// The frames to be sent.
#[derive(Default)]
pub(super) struct Outbox {
    full: VecDeque<Delta>,
    filling: Delta,
    /// Bytes of text that were sent.
    sent: u64,
}

impl Outbox {
    /// Puts `text` in as one piece.
    pub(super) fn whole(&mut self, text: String) {
        self.filling.text = text;
    }

    pub(super) fn text(&mut self, text: &str) {
        for piece in pieces(text) {
            self.make_room(piece.len());
            self.filling.text.push_str(piece);
        }
    }

    pub(super) fn reasoning(&mut self, text: &str) {
        for piece in pieces(text) {
            self.make_room(piece.len());
            self.filling.reasoning.push_str(piece);
        }
    }

    /// Id and name go with the first piece of the arguments.
    pub(super) fn tool_call(&mut self, delta: ToolCallDelta) {
        let arguments = delta.arguments;
        let mut rest = pieces(&arguments);
        let mut next =
            ToolCallDelta { arguments: rest.next().unwrap_or_default().to_owned(), ..delta };
        let index = next.index;
        loop {
            self.make_room(next.arguments.len());
            self.filling.tool_calls.push(next);
            let Some(piece) = rest.next() else { return };
            next = ToolCallDelta { index, id: None, name: None, arguments: piece.to_owned() };
        }
    }

    /// The next frame's content.
    pub(super) fn take(&mut self) -> Option<Delta> {
        if self.is_empty() {
            return None;
        }
        let next = self.full.pop_front();
        let mut delta = next.unwrap_or_else(|| std::mem::take(&mut self.filling));
        delta.offset = self.sent;
        self.sent += delta.text.len() as u64;
        Some(delta)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && size(&self.filling) == 0 && self.filling.tool_calls.is_empty()
    }

    /// Closes the frame that is filling if another `bytes` would be too many.
    fn make_room(&mut self, bytes: usize) {
        let filled = size(&self.filling);
        if filled > 0 && filled + bytes > FRAME {
            self.full.push_back(std::mem::take(&mut self.filling));
        }
    }
}

fn size(delta: &Delta) -> usize {
    let calls: usize = delta.tool_calls.iter().map(|call| call.arguments.len()).sum();
    delta.text.len() + delta.reasoning.len() + calls
}

/// `text` in pieces that a frame can hold.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(FRAME);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
