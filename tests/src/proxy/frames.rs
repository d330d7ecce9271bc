//! The frames that a NATS server sends, told apart so that messages can come twice or late.

/// What was received and not yet passed on.
#[derive(Default)]
pub(super) struct Frames {
    received: Vec<u8>,
    /// A message that is to come after the next frame.
    late: Option<Vec<u8>>,
    messages: u32,
    /// Messages that came twice or late.
    doubled: u64,
}

impl Frames {
    /// How many messages came twice or late.
    pub(super) fn doubled(&self) -> u64 {
        self.doubled
    }

    /// Takes in `bytes`; tells what is to be sent on. Of `one_in` messages one comes twice, and
    /// one after its successor.
    pub(super) fn pass(&mut self, bytes: &[u8], one_in: u32) -> Vec<u8> {
        self.received.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(self.received.len());
        while let Some(length) = frame(&self.received) {
            let frame: Vec<u8> = self.received.drain(..length).collect();
            let late = self.late.take();
            if is_message(&frame) && one_in > 0 {
                self.messages += 1;
                if self.messages.is_multiple_of(2 * one_in) && late.is_none() {
                    self.late = Some(frame);
                    self.doubled += 1;
                    continue;
                }
                if self.messages.is_multiple_of(one_in) {
                    passed.extend_from_slice(&frame);
                    self.doubled += 1;
                }
            }
            passed.extend(frame);
            passed.extend(late.unwrap_or_default());
        }
        passed
    }
}

/// The length of the first whole frame.
fn frame(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|window| window == b"\r\n")? + 2;
    if !is_message(bytes) {
        return Some(line);
    }
    let text = String::from_utf8_lossy(&bytes[..line]);
    let payload: usize = text.split_whitespace().next_back()?.parse().ok()?;
    let length = line + payload + 2;
    (bytes.len() >= length).then_some(length)
}

fn is_message(frame: &[u8]) -> bool {
    frame.starts_with(b"MSG ") || frame.starts_with(b"HMSG ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &[u8] =
        b"INFO {}\r\nMSG a 1 2\r\n1\n\r\nPING\r\nHMSG b 1 2 3\r\n222\r\nMSG c 1 1\r\n3\r\n";

    #[test]
    fn frames_pass_whole_however_they_come_in() {
        for piece in 1..MESSAGES.len() {
            let mut frames = Frames::default();
            let passed: Vec<u8> =
                MESSAGES.chunks(piece).flat_map(|bytes| frames.pass(bytes, 0)).collect();
            assert_eq!(passed, MESSAGES);
        }
    }

    #[test]
    fn messages_come_twice_and_late() {
        let mut frames = Frames::default();
        let passed = String::from_utf8(frames.pass(MESSAGES, 1)).unwrap();
        let subjects: Vec<&str> = passed
            .lines()
            .filter_map(|line| line.split_once("MSG ")?.1.split(' ').next())
            .collect();
        assert_eq!(subjects, ["a", "a", "c", "c", "b"]);
    }
}
