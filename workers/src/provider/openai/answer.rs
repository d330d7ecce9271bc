//! An answer on its way: bytes from the network in, chunks out.
//!
//! Every answer that is given out whole ends with exactly one finish, whatever the server
//! did; all else ends with an error.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;

use super::deadlines::{Deadlines, Late};
use super::error::Reporter;
use super::frame::{FrameReader, MAX_ANSWER, TOO_LONG};
use super::sse::{SseDecoder, TooLong};
use crate::provider::{Chunk, ErrorClass, ProviderError};

/// The longest answer that comes as one JSON object: text may be escaped, and more is around it.
const MAX_WHOLE: usize = 2 * MAX_ANSWER;

/// The form the body has; its first byte tells, for not every server heeds `stream: true`
/// or names the right content type.
enum Form {
    Unknown,
    Events(SseDecoder),
    Whole(Vec<u8>),
}

enum State {
    Reading,
    /// The server said that this is all; the body may have a little more to its end.
    Draining,
    /// What was read is still to be given out, and then perhaps an error.
    Ending(Option<ProviderError>),
}

/// The stream of chunks.
pub(super) struct Answer {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    form: Form,
    frames: FrameReader,
    chunks: VecDeque<Chunk>,
    deadlines: Deadlines,
    report: Arc<Reporter>,
    state: State,
    /// Whether any event came.
    begun: bool,
}

impl Answer {
    pub(super) fn new(
        body: BoxStream<'static, reqwest::Result<Bytes>>,
        deadlines: Deadlines,
        report: Arc<Reporter>,
    ) -> Self {
        Self {
            body,
            form: Form::Unknown,
            frames: FrameReader::default(),
            chunks: VecDeque::new(),
            deadlines,
            report,
            state: State::Reading,
            begun: false,
        }
    }

    /// Takes a packet.
    fn take(&mut self, bytes: &[u8]) -> Result<(), ProviderError> {
        let had_finished = self.frames.finished;
        self.decode(bytes)?;
        if matches!(self.state, State::Draining) {
            return Ok(());
        }
        if self.frames.finished && !had_finished {
            self.deadlines.finished();
        } else if !self.frames.finished && !self.chunks.is_empty() {
            self.deadlines.token();
        }
        // A flood of packets without a token never lets the timer run.
        match self.deadlines.check() {
            Some(late) if self.chunks.is_empty() => Err(self.late(late)),
            _ => Ok(()),
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<(), ProviderError> {
        if matches!(self.form, Form::Unknown) {
            self.form = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{') => Form::Whole(Vec::new()),
                Some(_) => Form::Events(SseDecoder::default()),
            };
        }
        match &mut self.form {
            Form::Unknown => Ok(()),
            Form::Events(decoder) => {
                decoder.push(bytes);
                self.read_events()
            }
            Form::Whole(body) if body.len() + bytes.len() > MAX_WHOLE => {
                Err(self.report.error(ErrorClass::AnswerTooLong, TOO_LONG))
            }
            Form::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn read_events(&mut self) -> Result<(), ProviderError> {
        let Form::Events(decoder) = &mut self.form else {
            return Ok(());
        };
        let too_long =
            |TooLong| self.report.error(ErrorClass::Protocol, "sent a line longer than 1 MiB");
        while let Some(data) = decoder.next_event().map_err(too_long)? {
            self.begun = true;
            if data == b"[DONE]" {
                self.frames.finish(&mut self.chunks);
                self.deadlines.drain();
                self.state = State::Draining;
                break;
            }
            if !self.frames.read(data, &self.report, &mut self.chunks)? {
                let what = "sent an event that is not a chat completion chunk";
                return Err(self.report.error(ErrorClass::Protocol, what));
            }
        }
        Ok(())
    }

    /// The body is at its end.
    fn end(&mut self) -> Result<(), ProviderError> {
        match &mut self.form {
            Form::Unknown => {}
            Form::Events(decoder) => match decoder.finish() {
                Ok(Some(b"[DONE]")) => self.frames.finish(&mut self.chunks),
                // What is no JSON here was cut off, and then the finish is missing too.
                Ok(Some(data)) => {
                    self.begun = true;
                    self.frames.read(data, &self.report, &mut self.chunks)?;
                }
                Ok(None) | Err(TooLong) => {}
            },
            Form::Whole(body) => {
                if !self.frames.read(body, &self.report, &mut self.chunks)? {
                    return Err(self.protocol("sent JSON that is not a chat completion"));
                }
                self.frames.finish(&mut self.chunks);
            }
        }
        match (self.frames.finished, self.begun) {
            (true, _) => Ok(()),
            (false, true) => Err(self.protocol("ended the answer early")),
            // llama-cpp-python does this; it says what is wrong only if one doesn't stream.
            (false, false) => {
                Err(self
                    .protocol("sent an empty answer (some servers do when the prompt is too long)"))
            }
        }
    }

    /// Ends the stream; once the model has finished, nothing can spoil its answer.
    fn stop(&mut self, result: Result<(), ProviderError>) {
        self.state = State::Ending(match result {
            Err(error) if self.frames.finished => {
                tracing::debug!(%error, "after the end of the answer");
                None
            }
            result => result.err(),
        });
    }

    fn protocol(&self, what: &str) -> ProviderError {
        self.report.error(ErrorClass::Protocol, what)
    }

    fn late(&self, late: Late) -> ProviderError {
        self.report.error(late.class(), self.deadlines.describe(late))
    }
}

impl Stream for Answer {
    type Item = Result<Chunk, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(chunk) = this.chunks.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            if let State::Ending(error) = &mut this.state {
                return Poll::Ready(error.take().map(Err));
            }
            match this.body.as_mut().poll_next(cx) {
                Poll::Ready(_) if matches!(this.state, State::Draining) => this.stop(Ok(())),
                Poll::Ready(Some(Ok(bytes))) => {
                    if let Err(error) = this.take(&bytes) {
                        this.stop(Err(error));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = this.report.transport(error);
                    this.stop(Err(error));
                }
                Poll::Ready(None) => {
                    let result = this.end();
                    this.stop(result);
                }
                Poll::Pending => match this.deadlines.poll(cx) {
                    Poll::Ready(late) => {
                        let error = this.late(late);
                        this.stop(Err(error));
                    }
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
