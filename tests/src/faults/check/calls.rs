//! I7: the providers are asked no more often than there were attempts, and failures to repeat.

use std::collections::HashMap;

use crate::faults::world::BACKED;
use crate::provider::{Call, Ended};

use super::turns::{begun, questions};
use super::{Event, Evidence};

/// Within an attempt, so many calls may fail before their first word: the one that is made, and
/// the configuration's `max_retries` of 1.
const TRIES: usize = 2;
/// Before those, the provider of the backed model is asked once.
const TRIES_BACKED: usize = 1 + TRIES;

/// Each attempt asks once, and once more only for a call that a provider itself failed before
/// its first word. (Who sends a message without a key, and is left without an answer, sends it as
/// another turn.) A worker that was frozen may have missed the answer: its attempt asks once more.
pub(super) fn no_more_than_attempts(evidence: &Evidence<'_>) {
    let questions = questions(evidence);
    let mut attempts: HashMap<&str, (usize, usize)> = HashMap::new();
    for event in evidence.log.called("AttemptStarted") {
        let question = questions.get(event.text("turn_id")).copied().unwrap_or_default();
        let (made, frozen) = attempts.entry(question).or_default();
        *made += 1;
        *frozen += usize::from(was_frozen(evidence, event));
    }
    for (question, calls) in &evidence.calls {
        let (made, frozen) = attempts.get(question.as_str()).copied().unwrap_or_default();
        let failed = calls.iter().filter(|call| failed_before_a_word(call)).count();
        let backed = calls.iter().any(|call| call.body["model"] == BACKED);
        let tries = if backed { TRIES_BACKED } else { TRIES };
        assert!(
            calls.len() - failed <= made + frozen && failed <= made * tries,
            "I7: {question:?} has {made} attempts, {frozen} by frozen workers, and these calls: \
             {calls:#?}"
        );
    }
}

/// Whether the attempt's worker was frozen at any time; its name has its process in it.
fn was_frozen(evidence: &Evidence<'_>, attempt: &Event) -> bool {
    let worker = attempt.text("worker_id");
    evidence.frozen.iter().any(|pid| worker.contains(&format!("-{pid}-")))
}

/// Whether the provider failed the call, by its own account, and had said nothing.
fn failed_before_a_word(call: &Call) -> bool {
    let silent = call.tokens == 0 && begun(call).is_empty();
    match call.ended {
        Ended::Faulty | Ended::Whole => silent,
        Ended::Abandoned | Ended::Not => silent && call.message.contains("hang"),
    }
}
