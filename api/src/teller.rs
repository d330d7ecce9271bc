//! What the native streams tell of a turn, frame by frame.
//!
//! A new attempt may go on from an earlier one's text. Who has that text from this connection
//! keeps it: the restart is told together with the first piece, which is nothing but that text,
//! and under its id. Everybody else begins anew.

use broker::{Cursor, Delta, Frame, Settlement, Terminal};
use domain::TurnId;
use serde_json::{Value, json};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// Attempt and sequence.
    pub(crate) place: (u32, u32),
    pub(crate) name: &'static str,
    pub(crate) data: Value,
}

impl Told {
    /// The event's id.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.place.0, self.place.1)
    }
}

/// What one connection has told of a turn.
#[derive(Debug)]
pub(crate) struct Teller {
    turn_id: TurnId,
    /// Where the client stands.
    cursor: Cursor,
    /// The answer's text as the client has it, if all of it came from here.
    text: Option<String>,
    /// The start of an attempt that goes on from earlier text.
    held: Option<Frame>,
}

impl Teller {
    /// For a client that has seen everything before `cursor`.
    pub(crate) fn new(turn_id: TurnId, cursor: Cursor) -> Self {
        let text = (cursor == Cursor::default()).then(String::new);
        Self { turn_id, cursor, text, held: None }
    }

    /// Where the client stands: what to go on with at its next connection.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The events that tell of `frame`, the next one.
    pub(crate) fn tell(&mut self, frame: &Frame) -> Vec<Told> {
        let held = self.held.take();
        if let Frame::Started { continued, .. } = frame {
            if *continued > 0 && self.cursor.attempt > 0 && self.text.is_some() {
                self.held = Some(frame.clone());
                return Vec::new();
            }
            return vec![self.tell_one(frame)];
        }
        let Some(started) = held else { return vec![self.tell_one(frame)] };
        match self.goes_on(frame) {
            Some(told) => vec![told],
            None => vec![self.tell_one(&started), self.tell_one(frame)],
        }
    }

    /// The restart at the end of what `frame` repeats, if the client has all of that.
    fn goes_on(&mut self, frame: &Frame) -> Option<Told> {
        let Frame::Delta { attempt, sequence: 1, delta } = frame else { return None };
        let Delta { offset, text: repeated, reasoning, tool_calls } = delta;
        let text = self.text.as_mut()?;
        if *offset > 0 || !reasoning.is_empty() || !tool_calls.is_empty() {
            return None;
        }
        if !text.starts_with(repeated.as_str()) {
            return None;
        }
        text.truncate(repeated.len());
        self.cursor = Cursor::after(*attempt, 1);
        let data = restarted(self.turn_id, *attempt, repeated.len());
        Some(Told { place: (*attempt, 1), name: RESTARTED, data })
    }

    fn tell_one(&mut self, frame: &Frame) -> Told {
        let (name, data) = describe(self.turn_id, frame, self.cursor.attempt);
        match frame {
            Frame::Started { .. } => self.text = Some(String::new()),
            Frame::Delta { delta, .. } => {
                let fits = |text: &String| text.len() as u64 == delta.offset;
                self.text = self.text.take().filter(fits).map(|text| text + &delta.text);
            }
            Frame::Ended { .. } => {}
        }
        let place = frame.place();
        self.cursor = Cursor::after(place.0, place.1);
        Told { place, name, data }
    }
}

const RESTARTED: &str = "turn.restarted";

fn restarted(turn_id: TurnId, attempt: u32, offset: usize) -> Value {
    json!({ "turn_id": turn_id, "attempt": attempt, "offset": offset })
}

/// A frame's event. `seen` is the attempt the client had last: a later one makes it drop what
/// it has.
fn describe(turn_id: TurnId, frame: &Frame, seen: u32) -> (&'static str, Value) {
    match frame {
        Frame::Started { attempt, .. } if seen > 0 && *attempt > seen => {
            (RESTARTED, restarted(turn_id, *attempt, 0))
        }
        Frame::Started { attempt, at, .. } => {
            ("turn.started", json!({ "turn_id": turn_id, "attempt": attempt, "at": at }))
        }
        Frame::Delta { attempt, sequence, delta } => {
            let mut data = json!({
                "attempt": attempt, "sequence": sequence,
                "offset": delta.offset, "text": delta.text,
            });
            if !delta.reasoning.is_empty() {
                data["reasoning"] = json!(delta.reasoning);
            }
            if !delta.tool_calls.is_empty() {
                data["tool_calls"] = json!(delta.tool_calls);
            }
            ("delta", data)
        }
        Frame::Ended { attempt, position, terminal, settlement, .. } => {
            let (name, mut data) = describe_end(terminal, settlement);
            data["turn_id"] = json!(turn_id);
            data["attempt"] = json!(attempt);
            data["position"] = json!(position);
            (name, data)
        }
    }
}

fn describe_end(terminal: &Terminal, settlement: &Settlement) -> (&'static str, Value) {
    match terminal {
        Terminal::Completed { finish_reason, completion } => {
            let mut data = json!({
                "message": completion.message, "finish_reason": finish_reason,
                "usage": completion.usage, "credits": settlement.credits,
                "timing": completion.timing,
            });
            if let Some(code) = &completion.stopped_by {
                data["stopped_by"] = json!(code);
            }
            ("turn.completed", data)
        }
        Terminal::Failed { error } => ("turn.failed", json!({ "error": error })),
        Terminal::Cancelled { completion } => {
            let data = json!({
                "message": completion.as_ref().map(|completion| &completion.message),
                "usage": completion.as_ref().map(|completion| completion.usage),
                "credits": settlement.credits,
            });
            ("turn.cancelled", data)
        }
    }
}

#[cfg(test)]
mod tests;
