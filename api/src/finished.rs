//! The stream of a turn that has ended, made again from what is stored: the same frames with
//! the same ids as those that were watched live.

use std::collections::VecDeque;
use std::sync::Arc;

use broker::{Cursor, Delta, Frame, Settlement, Spliced, Terminal, splice};
use domain::session::{TurnError, TurnStatus};
use domain::{Completion, ContentPart, Cuts, FinishReason, Message, Role, content};
use projections::{MessageRow, TurnDetail, TurnRow};

use crate::error::ApiError;
use crate::sse;

/// The frames of an ended turn after `cursor`, which are empty for a watcher that has seen it
/// all; none if the turn runs.
///
/// # Errors
/// When nothing at `cursor` was ever sent.
pub(crate) fn rest(
    detail: &TurnDetail,
    cursor: Cursor,
) -> Result<Option<VecDeque<Arc<Frame>>>, ApiError> {
    let turn = &detail.turn;
    let Some(terminal) = terminal(detail) else { return Ok(None) };
    let deltas = deltas(turn, &terminal);
    let end = Frame::ended(turn.attempt, turn.last_position, terminal, settlement(turn));
    let (attempt, sequence) = end.place();
    let all = started(turn).into_iter().chain(deltas).chain([end]);
    let mut place = cursor;
    let rest: VecDeque<_> =
        all.filter(|frame| splice(&mut place, frame) == Spliced::Next).map(Arc::new).collect();
    // A worker that was lost may have said more than was known when the turn ended.
    let beyond = sequence == Frame::LAST && cursor.attempt == attempt;
    if rest.is_empty() && !beyond && cursor != Cursor::after(attempt, sequence) {
        return Err(sse::never_sent());
    }
    Ok(Some(rest))
}

fn started(turn: &TurnRow) -> Option<Frame> {
    turn.started_at.map(|at| Frame::Started { attempt: turn.attempt, at, continued: 0 })
}

fn terminal(detail: &TurnDetail) -> Option<Terminal> {
    let turn = &detail.turn;
    match turn.status {
        TurnStatus::Queued | TurnStatus::Running => None,
        TurnStatus::Completed => Some(Terminal::Completed {
            finish_reason: turn.finish_reason.unwrap_or(FinishReason::Stop),
            completion: completion(detail),
        }),
        TurnStatus::Cancelled => Some(Terminal::Cancelled {
            completion: turn.cuts.is_some().then(|| completion(detail)),
        }),
        TurnStatus::Failed => {
            let unknown = || TurnError { code: "failed".to_owned(), message: String::new() };
            Some(Terminal::Failed { error: turn.error.clone().unwrap_or_else(unknown) })
        }
    }
}

fn settlement(turn: &TurnRow) -> Settlement {
    Settlement { credits: turn.credits, warnings: turn.quota_warnings.clone() }
}

fn completion(detail: &TurnDetail) -> Completion {
    let turn = &detail.turn;
    let message = detail.answer.as_ref().and_then(message).unwrap_or_else(|| forgotten(turn));
    Completion {
        message,
        usage: turn.usage.unwrap_or_default(),
        timing: turn.timing.unwrap_or_default(),
        cuts: turn.cuts.clone().unwrap_or_default(),
        stopped_by: turn.stopped_by.clone(),
    }
}

fn message(answer: &MessageRow) -> Option<Message> {
    Some(Message {
        id: answer.message_id,
        parent_id: answer.parent_id,
        role: answer.role,
        content: answer.parts().ok()?,
        name: answer.name.clone(),
        created_at: answer.created_at,
    })
}

/// The history was cleared: the answer was there, its words are not any more.
fn forgotten(turn: &TurnRow) -> Message {
    Message {
        id: turn.answer_id,
        parent_id: Some(turn.message_id),
        role: Role::Assistant,
        content: Vec::new(),
        name: None,
        created_at: turn.ended_at.unwrap_or(turn.requested_at),
    }
}

/// The answer cut as it was published.
fn deltas(turn: &TurnRow, terminal: &Terminal) -> Vec<Frame> {
    let completion = match terminal {
        Terminal::Completed { completion, .. }
        | Terminal::Cancelled { completion: Some(completion) } => completion,
        Terminal::Cancelled { completion: None } | Terminal::Failed { .. } => return Vec::new(),
    };
    let attempt = turn.attempt;
    let frame = |(sequence, delta)| Frame::Delta { attempt, sequence, delta };
    (1..).zip(cut(&completion.message.content, &completion.cuts)).map(frame).collect()
}

/// The deltas that `content` was published in. Of a forgotten answer they are empty.
fn cut(content: &[ContentPart], cuts: &Cuts) -> Vec<Delta> {
    let (text, reasoning) = (content::text_of(content), reasoning_of(content));
    let (mut texts, mut reasonings) = (Pieces::of(&text), Pieces::of(&reasoning));
    let delta = |(sequence, length): (u32, &u32)| {
        let thought = (sequence as usize).checked_sub(1).and_then(|n| cuts.reasoning.get(n));
        let tool_calls = cuts.tool_calls.get(&sequence).filter(|_| !content.is_empty());
        Delta {
            offset: texts.at as u64,
            text: texts.next(*length),
            reasoning: reasonings.next(thought.copied().unwrap_or_default()),
            tool_calls: tool_calls.cloned().unwrap_or_default(),
        }
    };
    (1..).zip(&cuts.text).map(delta).collect()
}

/// A text, piece by piece.
struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Pieces<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn next(&mut self, length: u32) -> String {
        let end = self.at + length as usize;
        let piece = self.text.get(self.at..end).unwrap_or_default().to_owned();
        self.at = end;
        piece
    }
}

fn reasoning_of(parts: &[ContentPart]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        ContentPart::Reasoning { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
