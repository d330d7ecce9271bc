//! I4: each turn has one end, and its text and usage come from one attempt. That there is one
//! end, from the attempt that held the turn, is told when the ends are gathered.

use crate::faults::world::CONTINUED;
use crate::provider::{Call, Ended};
use crate::transcript::content_text;

use super::{Event, Evidence};

/// The answer of a completed turn is what one call of the provider gave, whole, with the usage
/// that it told, after what that call was given to go on from; that of a cancelled one is the
/// beginning of such.
pub(super) fn answers_come_from_one_attempt(evidence: &Evidence<'_>) {
    let questions = questions(evidence);
    for end in evidence.log.called("TurnCompleted").chain(evidence.log.called("TurnCancelled")) {
        let content = &end.field("completion")["message"]["content"];
        if !content.is_array() {
            continue;
        }
        let text = content_text(content);
        let question = questions.get(end.text("turn_id")).copied().unwrap_or_default();
        let calls = evidence.calls.get(question).map(Vec::as_slice).unwrap_or_default();
        if end.name == "TurnCompleted" {
            let accepted = calls.iter().rfind(|call| gave(call, &text));
            let accepted = accepted.unwrap_or_else(|| {
                panic!("I4: {end:?} is no answer of the provider to {question:?}: {calls:#?}")
            });
            assert_eq!(accepted.ended, Ended::Whole, "I4: {end:?} was broken off: {accepted:?}");
            same_usage(end, accepted);
        } else {
            // It may have been cancelled before the provider was asked.
            let mut calls = calls.iter();
            let said = text.is_empty() || calls.any(|call| whole(call).starts_with(&text));
            assert!(said, "I4: {end:?} is no beginning of an answer to {question:?}");
        }
    }
    for calls in evidence.calls.values() {
        for call in calls.iter().filter(|call| !begun(call).is_empty()) {
            let said = |earlier: &Call| {
                earlier.number < call.number && whole(earlier).starts_with(&begun(call))
            };
            assert_eq!(call.body["model"], CONTINUED, "I4: it was not to go on: {call:?}");
            assert!(calls.iter().any(said), "I4: nobody said what {call:?} goes on from");
        }
    }
}

/// What a call was given to go on from; empty if it was to begin.
pub fn begun(call: &Call) -> String {
    match call.prompt().pop() {
        Some((role, text)) if role == "assistant" => text,
        _ => String::new(),
    }
}

/// An answer as far as a call brought it, from its first word on.
fn whole(call: &Call) -> String {
    begun(call) + &call.text
}

/// Whether `text` is the answer that ended with what this call gave. One that a frozen worker
/// began may have been given to its end beside the one that went on with it: the last one counts.
pub(super) fn gave(call: &Call, text: &str) -> bool {
    whole(call) == text
}

/// The usage of a completed turn is what the provider told of the accepted call.
fn same_usage(end: &Event, call: &Call) {
    let Some(usage) = call.usage else { return };
    let stored = &end.field("completion")["usage"];
    let stored = (stored["prompt_tokens"].as_u64(), stored["completion_tokens"].as_u64());
    let told = (Some(usage.prompt), Some(usage.completion));
    assert_eq!(stored, told, "I6: {end:?} against the provider's meter: {call:?}");
}

/// The text of each turn's message, by the turn.
pub(super) fn questions<'a>(
    evidence: &'a Evidence<'_>,
) -> std::collections::HashMap<&'a str, &'a str> {
    let mut texts = std::collections::HashMap::new();
    for event in evidence.log.called("MessageSent") {
        let message = event.field("message");
        let text = message["content"][0]["text"].as_str().unwrap_or_default();
        texts.insert(message["id"].as_str().unwrap_or_default(), text);
    }
    let asked =
        |event: &'a Event| Some((event.text("turn_id"), *texts.get(event.text("message_id"))?));
    evidence.log.called("TurnRequested").filter_map(asked).collect()
}
