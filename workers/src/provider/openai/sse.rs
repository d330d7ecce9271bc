//! A decoder of server-sent events, as far as chat completions need it: the `data` of each
//! event, whole, however the network cut it.
//!
//! It works on bytes, so a character split between two packets is no special case, and it
//! holds at most [`MAX_EVENT`] bytes of an event.

/// The longest line, and the longest data of one event, in bytes.
pub(super) const MAX_EVENT: usize = 1024 * 1024;

/// A line or an event longer than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// The decoder. Give it bytes with [`push`](Self::push), then take events until there are none.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    buffer: Vec<u8>,
    /// Where the first line that is not yet done begins.
    start: usize,
    /// How far that line was searched for its end.
    searched: usize,
    /// The data of the event that is being read, or of the last one if that has none yet.
    data: Vec<u8>,
    /// Whether the event has a data line; an empty one counts.
    has_data: bool,
    /// Whether the last line ended in CR, so that a LF right after it belongs to it.
    after_cr: bool,
    /// Whether any line was read; a byte order mark may only stand before the first.
    begun: bool,
}

impl SseDecoder {
    /// Takes the next bytes from the network.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            self.searched = 0;
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next complete event, if there is one.
    pub(super) fn next_event(&mut self) -> Result<Option<&[u8]>, TooLong> {
        while let Some(range) = self.next_line() {
            if range.len() > MAX_EVENT {
                return Err(TooLong);
            }
            if range.is_empty() {
                if self.end_of_event() {
                    return Ok(Some(&self.data));
                }
            } else {
                self.take_line(range)?;
            }
        }
        if self.buffer.len() - self.start > MAX_EVENT { Err(TooLong) } else { Ok(None) }
    }

    /// The data of an event that the end of the input cut short of its blank line.
    pub(super) fn finish(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let rest = self.start..self.buffer.len();
        self.start = rest.end;
        self.searched = rest.end;
        if !rest.is_empty() {
            self.take_line(rest)?;
        }
        Ok(self.end_of_event().then_some(self.data.as_slice()))
    }

    /// The next line that has come whole, without its ending: LF, CR or both.
    fn next_line(&mut self) -> Option<std::ops::Range<usize>> {
        if self.after_cr && self.start < self.buffer.len() {
            self.after_cr = false;
            if self.buffer[self.start] == b'\n' {
                self.start += 1;
                self.searched = self.start;
            }
        }
        let unread = &self.buffer[self.searched..];
        let Some(length) = unread.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + length;
        self.after_cr = self.buffer[end] == b'\r';
        let line = self.start..end;
        self.start = end + 1;
        self.searched = self.start;
        Some(line)
    }

    /// Adds the line to the event if it holds data; comments and other fields say nothing here.
    fn take_line(&mut self, range: std::ops::Range<usize>) -> Result<(), TooLong> {
        let mut line = &self.buffer[range];
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => return Ok(()),
        };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        } else {
            self.data.clear();
        }
        if self.data.len() + value.len() > MAX_EVENT {
            return Err(TooLong);
        }
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// Ends the event and says whether it had data worth reading.
    fn end_of_event(&mut self) -> bool {
        std::mem::take(&mut self.has_data) && !self.data.is_empty()
    }
}

#[cfg(test)]
mod tests;
