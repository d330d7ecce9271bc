//! What an earlier attempt at a turn has said, as far as NATS still knows.

use std::time::Duration;

use broker::{Delta, Frame, Job};

use crate::answer::Answer;
use crate::provider::Chunk;
use crate::worker::Deps;

/// The longest beginning that a provider is asked to go on from.
/// It is one frame, and a byte of it may take six in JSON.
const LONGEST_PREFIX: usize = 128 * 1024;

/// An attempt's answer, as far as it came.
pub(super) struct Earlier {
    pub(super) answer: Answer,
    /// Bytes of it that it had from the attempt before.
    continued: u64,
}

impl Earlier {
    /// What `attempt` has published. If NATS doesn't know, or some of it is missing, it counts
    /// only up to there.
    pub(super) async fn of(deps: &Deps, job: &Job, attempt: u32, context: u32) -> Self {
        let answer = Answer::new(attempt, Duration::ZERO, context, None);
        let mut earlier = Self { answer, continued: 0 };
        match deps.broker.stored_frames(&job.tenant_id, job.turn_id).await {
            Ok(frames) => earlier.take(attempt, frames),
            Err(error) => tracing::debug!(%error, "what was said before is not known"),
        }
        earlier
    }

    fn take(&mut self, attempt: u32, frames: Vec<Frame>) {
        for frame in frames {
            match frame {
                Frame::Started { attempt: of, continued, .. } if of == attempt => {
                    self.continued = continued;
                }
                Frame::Delta { attempt: of, sequence, delta }
                    if of == attempt && sequence == self.answer.sequence() + 1 =>
                {
                    self.push(sequence, delta);
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, sequence: u32, delta: Delta) {
        if sequence == 1 && self.continued > 0 {
            self.answer.go_on_from(delta.text);
        } else {
            self.answer.push(Chunk::Text(delta.text));
            self.answer.push(Chunk::Reasoning(delta.reasoning));
            for call in delta.tool_calls {
                let (index, id) = (call.index, call.id);
                let (name, arguments) = (call.name, call.arguments);
                self.answer.push(Chunk::ToolCall { index, id, name, arguments });
            }
        }
        // Cut as it was published.
        self.answer.frame();
    }

    /// Bytes that the attempt itself has brought.
    pub(super) fn reached(&self) -> u64 {
        self.answer.brought() as u64
    }

    /// The text that another attempt may go on from: there has to be some, and nothing else. Where
    /// the attempt that went on has not brought a word, the next one begins anew.
    pub(super) fn into_prefix(self) -> Option<String> {
        if self.reached() == 0 {
            return None;
        }
        let text = self.answer.into_plain_text()?;
        (1..=LONGEST_PREFIX).contains(&text.len()).then_some(text)
    }
}
