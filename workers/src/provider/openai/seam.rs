//! Where the rest of an answer joins the beginning that the server was shown.
//!
//! White space at the end of the beginning is kept back: some servers refuse it, others cut it
//! off unseen, and models rarely go on well from it. So it may come again, and some servers
//! repeat the whole beginning. What comes a second time is left out, so that beginning and rest
//! make one text.

use domain::catalog::Continuation;
use futures::StreamExt as _;
use futures::stream::{self, Stream};

use crate::provider::{Chunk, ChunkStream, ProviderError};

/// As much of the beginning as the server is shown; none if there is nothing to show.
pub(super) fn shown(prefix: &str) -> Option<&str> {
    Some(prefix.trim_end()).filter(|text| !text.is_empty())
}

/// What may come a second time.
#[derive(Debug)]
pub(super) struct Seam {
    expected: String,
    /// How much of it must have come to be taken for a repeat.
    least: usize,
    /// How much of it has come.
    seen: usize,
    is_past: bool,
}

impl Seam {
    /// None if nothing may.
    pub(super) fn of(prefix: &str, continuation: Continuation) -> Option<Self> {
        let shown = shown(prefix).map_or(0, str::len);
        let (expected, least) = match continuation {
            Continuation::PrefixFlagEcho => (prefix, shown),
            _ => (&prefix[shown..], 0),
        };
        let expected = expected.to_owned();
        (!expected.is_empty()).then_some(Self { expected, least, seen: 0, is_past: false })
    }

    /// What is new in the next piece of text, and what was held back in vain.
    fn take(&mut self, text: &str) -> String {
        if self.is_past {
            return text.to_owned();
        }
        let same = common(&self.expected[self.seen..], text);
        self.seen += same;
        if same == text.len() && self.seen < self.expected.len() {
            return String::new();
        }
        self.end() + &text[same..]
    }

    /// What was held back and is no repeat: nothing more comes, or something else.
    fn end(&mut self) -> String {
        let is_repeat = std::mem::replace(&mut self.is_past, true) || self.seen >= self.least;
        if is_repeat { String::new() } else { self.expected[..self.seen].to_owned() }
    }

    fn pass(&mut self, item: Result<Chunk, ProviderError>) -> Vec<Result<Chunk, ProviderError>> {
        let text = match &item {
            Ok(Chunk::Text(text)) => self.take(text),
            Ok(Chunk::Finish(_)) => self.end(),
            _ => String::new(),
        };
        let text = (!text.is_empty()).then_some(Ok(Chunk::Text(text)));
        let rest = (!matches!(item, Ok(Chunk::Text(_)))).then_some(item);
        text.into_iter().chain(rest).collect()
    }
}

/// The answer without what comes a second time.
pub(super) fn join(
    answer: impl Stream<Item = Result<Chunk, ProviderError>> + Send + 'static,
    mut seam: Seam,
) -> ChunkStream {
    answer.flat_map(move |item| stream::iter(seam.pass(item))).boxed()
}

/// How many bytes both begin with, in whole characters.
fn common(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
