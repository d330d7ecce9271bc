//! What travels on a turn's delta subject.
//!
//! Every frame has the attempt it belongs to and a sequence that starts at 0 with
//! [`Frame::Started`] and has no hole: that is what proves a stream whole, for NATS drops
//! messages of slow subscribers.

use chrono::{DateTime, Utc};
use domain::quota::{QuotaEvent, Threshold};
use domain::session::{SessionEvent, TurnError};
use domain::{Completion, Credits, Cuts, FinishReason, ToolCallDelta, TurnId};
use serde::{Deserialize, Serialize};

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Where `text` starts in the answer, in UTF-8 bytes.
    pub offset: u64,
    /// Answer text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Reasoning text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Pieces of tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Terminal {
    /// With an answer.
    Completed {
        /// Why the model stopped.
        finish_reason: FinishReason,
        /// The answer.
        completion: Completion,
    },
    /// Without one.
    Failed {
        /// Why.
        error: TurnError,
    },
    /// On request.
    Cancelled {
        /// What was said until then.
        completion: Option<Completion>,
    },
}

/// What a turn's end meant for its owner's account.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Settlement {
    /// What the turn cost; none if nothing was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Limits of which it left little.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Threshold>,
}

/// One message of a turn's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "frames are shared by pointer, not moved about")]
pub enum Frame {
    /// An attempt holds the turn.
    Started {
        /// The attempt.
        attempt: u32,
        /// When.
        at: DateTime<Utc>,
        /// Bytes of the text of the attempt before it that it goes on from; 0 if its text
        /// starts from nothing. They are its first delta.
        #[serde(default, skip_serializing_if = "is_zero")]
        continued: u64,
    },
    /// The next piece of the answer.
    Delta {
        /// The attempt.
        attempt: u32,
        /// From 1 without a hole.
        sequence: u32,
        /// The piece.
        #[serde(flatten)]
        delta: Delta,
    },
    /// The turn has ended; the log says so already.
    Ended {
        /// The attempt.
        attempt: u32,
        /// One more than the last delta's, or [`Frame::LAST`].
        sequence: u32,
        /// The log position of the event that ended it.
        position: i64,
        /// How.
        terminal: Terminal,
        /// And at what cost.
        #[serde(default, flatten)]
        settlement: Settlement,
    },
}

impl Frame {
    /// The sequence of an end that doesn't tell how many deltas were before it: of a failed
    /// turn, whose text is void, and of one that was ended for its worker, which may have said
    /// more than is known. It comes after
    /// every delta, and nothing before it can be missing.
    pub const LAST: u32 = 1_000_000_000;

    /// The frame of a turn's end. What is stored of the turn gives the same one.
    pub fn ended(attempt: u32, position: i64, terminal: Terminal, settlement: Settlement) -> Self {
        let sequence = match &terminal {
            Terminal::Completed { completion, .. } => after(&completion.cuts),
            Terminal::Cancelled { completion: Some(completion) }
                if !completion.cuts.is_empty() && completion.stopped_by.is_none() =>
            {
                after(&completion.cuts)
            }
            Terminal::Cancelled { .. } | Terminal::Failed { .. } => Self::LAST,
        };
        Self::Ended { attempt, sequence, position, terminal, settlement }
    }

    /// Attempt and sequence.
    pub fn place(&self) -> (u32, u32) {
        match self {
            Self::Started { attempt, .. } => (*attempt, 0),
            Self::Delta { attempt, sequence, .. } | Self::Ended { attempt, sequence, .. } => {
                (*attempt, *sequence)
            }
        }
    }
}

impl Settlement {
    /// The settlement of `turn_id` among the account's events of the append that ended it.
    pub fn of<'a>(turn_id: TurnId, events: impl IntoIterator<Item = &'a QuotaEvent>) -> Self {
        let mut settlement = Self::default();
        for event in events {
            match event {
                QuotaEvent::QuotaConsumed { turn_id: Some(of), amount, .. } if *of == turn_id => {
                    settlement.credits = Some(amount.credits);
                }
                QuotaEvent::ThresholdCrossed { turn_id: Some(of), threshold, .. }
                    if *of == turn_id =>
                {
                    settlement.warnings.push(threshold.clone());
                }
                _ => {}
            }
        }
        settlement
    }
}

impl Terminal {
    /// The turn, the attempt and the end that `event` tells of, if it ends a turn.
    pub fn of(event: &SessionEvent) -> Option<(TurnId, u32, Self)> {
        match event {
            SessionEvent::TurnCompleted { turn_id, attempt, finish_reason, completion, .. } => {
                let (finish_reason, completion) = (*finish_reason, completion.clone());
                Some((*turn_id, *attempt, Self::Completed { finish_reason, completion }))
            }
            SessionEvent::TurnFailed { turn_id, attempt, error, .. } => {
                Some((*turn_id, *attempt, Self::Failed { error: error.clone() }))
            }
            SessionEvent::TurnCancelled { turn_id, attempt, completion, .. } => {
                Some((*turn_id, *attempt, Self::Cancelled { completion: completion.clone() }))
            }
            _ => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn after(cuts: &Cuts) -> u32 {
    cuts.len().saturating_add(1).min(Frame::LAST)
}
