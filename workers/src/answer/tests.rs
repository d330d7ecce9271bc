//! An answer's frames, joined, are the answer, however its chunks came.

use std::time::Duration;

use broker::Frame;
use chrono::DateTime;
use domain::session::{Prompt, Turn, TurnStatus};
use domain::{ContentPart, FinishReason, MessageId, Settings, Usage, content};
use proptest::prelude::*;
use uuid::Uuid;

use super::Answer;
use crate::provider::Chunk;

const HELD: Duration = Duration::from_millis(20);
const CONTEXT: u32 = 8192;

fn turn() -> Turn {
    Turn {
        status: TurnStatus::Running,
        message_id: MessageId(Uuid::nil()),
        answer_id: MessageId(Uuid::max()),
        settings: Settings::default().into(),
        attempt: 1,
        lost: 0,
        broken_off: 0,
        worker_id: None,
        requested_at: DateTime::UNIX_EPOCH,
        cancel_requested_at: None,
    }
}

fn prompt() -> Prompt {
    Prompt { system: Some("Be brief.".to_owned()), messages: Vec::new(), dropped: 0 }
}

fn piece(frame: &Frame) -> (u32, u64, &str) {
    match frame {
        Frame::Delta { sequence, delta, .. } => (*sequence, delta.offset, &delta.text),
        other => panic!("not a delta: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_piece_is_due_at_once_and_the_next_ones_after_the_interval() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    assert_eq!(answer.due(), None);
    answer.push(Chunk::Text("a".to_owned()));
    let now = tokio::time::Instant::now();
    assert_eq!(answer.due(), Some(now));
    assert_eq!(piece(&answer.frame().unwrap()), (1, 0, "a"));
    answer.push(Chunk::Text("b".to_owned()));
    answer.push(Chunk::Text("c".to_owned()));
    assert_eq!(answer.due(), Some(now + HELD));
    assert_eq!(piece(&answer.frame().unwrap()), (2, 1, "bc"));
    assert!(answer.frame().is_none());
}

/// NATS carries no message of more than a MiB.
#[tokio::test]
async fn a_huge_piece_is_cut_into_frames() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    let text = "ä".repeat(500_000) + "x";
    answer.push(Chunk::Text(text.clone()));
    answer.push(Chunk::ToolCall {
        index: 0,
        id: Some("c".to_owned()),
        name: Some("f".to_owned()),
        arguments: text.clone(),
    });
    let (mut joined, mut arguments, mut names) = (String::new(), String::new(), 0);
    while let Some(Frame::Delta { delta, sequence, .. }) = answer.frame() {
        assert_eq!((delta.offset, sequence), (joined.len() as u64, answer.sequence()));
        assert!(serde_json::to_vec(&delta).unwrap().len() < 256 * 1024);
        joined.push_str(&delta.text);
        for call in delta.tool_calls {
            arguments.push_str(&call.arguments);
            names += usize::from(call.name.is_some());
        }
    }
    assert!(joined == text && arguments == text && names == 1);
    assert!(answer.sequence() > 20, "{}", answer.sequence());
}

#[tokio::test]
async fn an_answer_that_goes_on_begins_with_what_was_said() {
    let mut answer = Answer::new(2, HELD, CONTEXT, None);
    answer.go_on_from("said before".to_owned());
    assert_eq!(piece(&answer.frame().unwrap()), (1, 0, "said before"));
    assert_eq!(answer.brought(), 0, "nothing is its own yet");
    answer.push(Chunk::Text(", said now".to_owned()));
    assert_eq!(piece(&answer.frame().unwrap()), (2, 11, ", said now"));
    assert_eq!(answer.brought(), 10);
    let completion = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH);
    assert_eq!(content::text_of(&completion.message.content), "said before, said now");
}

#[tokio::test]
async fn tool_calls_come_together_by_index() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    let call = |index, id: Option<&str>, arguments: &str| Chunk::ToolCall {
        index,
        id: id.map(str::to_owned),
        name: id.map(|_| "f".to_owned()),
        arguments: arguments.to_owned(),
    };
    answer.push(call(0, Some("c0"), ""));
    answer.push(call(1, Some("c1"), "{}"));
    answer.push(call(0, None, "{\"x\":1}"));
    let completion = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH);
    assert_eq!(answer.finish_reason(), FinishReason::ToolCalls);
    let expected =
        [("c0", "{\"x\":1}"), ("c1", "{}")].map(|(id, arguments)| ContentPart::ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
        });
    assert_eq!(completion.message.content, expected);
}

#[tokio::test]
async fn a_hole_among_the_tool_calls_is_no_tool_call() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    let call = |index, id: Option<&str>| Chunk::ToolCall {
        index,
        id: id.map(str::to_owned),
        name: None,
        arguments: String::new(),
    };
    answer.push(call(3, None));
    assert_eq!(answer.finish_reason(), FinishReason::Stop);
    answer.push(call(7, Some("c7")));
    let completion = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH);
    let expected = ContentPart::ToolCall {
        id: "c7".to_owned(),
        name: String::new(),
        arguments: String::new(),
    };
    assert_eq!(completion.message.content, [expected]);
}

#[tokio::test]
async fn the_cuts_tell_what_each_frame_had() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    let mut frames = Vec::new();
    for chunk in [
        Chunk::Reasoning("Hm.".to_owned()),
        Chunk::Text("für".to_owned()),
        Chunk::ToolCall {
            index: 7,
            id: Some("c".to_owned()),
            name: None,
            arguments: "{".to_owned(),
        },
    ] {
        answer.push(chunk);
        frames.extend(answer.frame());
    }
    assert_eq!(answer.sequence(), 3);
    let cuts = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH).cuts;
    assert_eq!((cuts.text, cuts.reasoning), (vec![0, 4, 0], vec![3]));
    let Frame::Delta { delta, .. } = &frames[2] else { panic!("{frames:?}") };
    assert_eq!(cuts.tool_calls, [(3, delta.tool_calls.clone())].into());
}

#[tokio::test]
async fn a_nul_is_replaced_wherever_it_comes_from() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    let nul = || "a\0b".to_owned();
    answer.push(Chunk::Text(nul()));
    answer.push(Chunk::Reasoning(nul()));
    let (id, name) = (Some(nul()), Some(nul()));
    answer.push(Chunk::ToolCall { index: 0, id, name, arguments: nul() });
    let frame = serde_json::to_string(&answer.frame()).unwrap();
    let completion = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH);
    let stored = serde_json::to_string(&completion).unwrap();
    assert!(!frame.contains("\\u0000") && !stored.contains("\\u0000"), "{frame}\n{stored}");
    assert_eq!(content::text_of(&completion.message.content), "a\u{FFFD}b");
    assert_eq!(completion.cuts.text, [5]);
}

#[tokio::test]
async fn usage_is_the_providers_or_else_marked_as_an_estimate() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    answer.push(Chunk::Text("four words of text".to_owned()));
    let estimate = answer.usage(&prompt());
    assert!(estimate.estimated && estimate.prompt_tokens > 0 && estimate.completion_tokens > 0);
    let counted = Usage { prompt_tokens: 9, completion_tokens: 4, ..Usage::default() };
    answer.push(Chunk::Usage(counted));
    assert_eq!(answer.usage(&prompt()), counted);
}

#[tokio::test]
async fn a_count_that_cannot_be_is_not_believed() {
    let mut answer = Answer::new(1, HELD, CONTEXT, None);
    answer.push(Chunk::Text("four words of text".to_owned()));
    let absurd = Usage { prompt_tokens: 9, completion_tokens: 400_000, ..Usage::default() };
    answer.push(Chunk::Usage(absurd));
    let estimate = answer.usage(&prompt());
    assert!(estimate.estimated && estimate.completion_tokens < 10, "{estimate:?}");
}

#[tokio::test]
async fn no_estimate_is_longer_than_the_answer_may_be() {
    let mut answer = Answer::new(1, HELD, CONTEXT, Some(3));
    answer.push(Chunk::Text("comprehensibility is characteristically".to_owned()));
    assert_eq!(answer.usage(&prompt()).completion_tokens, 3);
}

proptest! {
    #[test]
    fn frames_joined_are_the_text(
        chunks in proptest::collection::vec(("\\PC{0,6}", any::<bool>()), 0..40),
    ) {
        let mut answer = Answer::new(1, HELD, CONTEXT, None);
        let mut frames = Vec::new();
        let mut said = String::new();
        for (text, send) in chunks {
            said.push_str(&text);
            answer.push(Chunk::Text(text));
            if send {
                frames.extend(answer.frame());
            }
        }
        frames.extend(answer.frame());
        let completion = answer.completion(&turn(), &prompt(), DateTime::UNIX_EPOCH);
        let mut joined = String::new();
        for (expected, frame) in (1..).zip(&frames) {
            let (sequence, offset, text) = piece(frame);
            prop_assert_eq!(sequence, expected);
            prop_assert_eq!(offset, joined.len() as u64);
            joined.push_str(text);
        }
        prop_assert_eq!(&joined, &said);
        prop_assert_eq!(content::text_of(&completion.message.content), said);
        let lengths: u32 = completion.cuts.text.iter().sum();
        prop_assert_eq!(lengths as usize, joined.len());
        prop_assert_eq!(completion.cuts.len() as usize, frames.len());
    }
}
