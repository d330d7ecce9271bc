//! One stream of an answer over several attempts, for a protocol that can't take words back.
//!
//! What a new attempt repeats of what was sent is swallowed; what it says beyond goes on. Where it
//! says something else, the stream can't.

use broker::Delta;

/// The new attempt doesn't say what was sent already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Diverged;

/// What was sent, and how much of it the present attempt has said.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    text: Sent,
    reasoning: Sent,
    /// Pieces of tool calls were sent: they can't be compared, for each attempt has its own ids.
    called: bool,
}

impl Rejoin {
    /// Another attempt has begun. If it goes on from the text of an earlier one, it doesn't think
    /// again what was thought before that text.
    pub(super) fn restart(&mut self, goes_on: bool) -> Result<(), Diverged> {
        if self.called {
            return Err(Diverged);
        }
        self.text.said = 0;
        self.reasoning.said = if goes_on { self.reasoning.all.len() } else { 0 };
        Ok(())
    }

    /// What is left to send of `delta`, the attempt's next piece; none if all of it was sent.
    pub(super) fn take(&mut self, delta: &Delta) -> Result<Option<Delta>, Diverged> {
        let text = self.text.take(&delta.text)?;
        let reasoning = self.reasoning.take(&delta.reasoning)?;
        self.called |= !delta.tool_calls.is_empty();
        if text.is_empty() && reasoning.is_empty() && delta.tool_calls.is_empty() {
            return Ok(None);
        }
        Ok(Some(Delta {
            offset: delta.offset + (delta.text.len() - text.len()) as u64,
            text: text.to_owned(),
            reasoning: reasoning.to_owned(),
            tool_calls: delta.tool_calls.clone(),
        }))
    }

    /// The attempt has said all that it has to say.
    pub(super) fn finish(&self) -> Result<(), Diverged> {
        if self.text.is_whole() && self.reasoning.is_whole() { Ok(()) } else { Err(Diverged) }
    }
}

/// A text that was sent.
#[derive(Debug, Default)]
struct Sent {
    all: String,
    /// Bytes of it that the present attempt has said.
    said: usize,
}

impl Sent {
    /// What `piece`, the attempt's next, has beyond what was sent.
    fn take<'a>(&mut self, piece: &'a str) -> Result<&'a str, Diverged> {
        let expected = &self.all[self.said..];
        let new = if expected.len() >= piece.len() {
            expected.starts_with(piece).then_some("")
        } else {
            piece.strip_prefix(expected)
        };
        let new = new.ok_or(Diverged)?;
        self.all.push_str(new);
        self.said += piece.len();
        Ok(new)
    }

    fn is_whole(&self) -> bool {
        self.said == self.all.len()
    }
}

#[cfg(test)]
mod tests;
