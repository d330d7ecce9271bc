//! What went out live comes back the same from what is stored.

use broker::ToolCallDelta;

use super::*;

fn piece(index: u32, id: Option<&str>, arguments: &str) -> ToolCallDelta {
    let (id, name) = (id.map(str::to_owned), id.map(|_| "look_up".to_owned()));
    ToolCallDelta { index, id, name, arguments: arguments.to_owned() }
}

/// Reasoning, with a pause in it, then text, then tool calls, as a worker publishes them.
fn published() -> Vec<Delta> {
    let calls = |pieces: &[ToolCallDelta]| pieces.to_vec();
    let deltas = [
        ("", "Hm", calls(&[])),
        ("", "…", calls(&[])),
        ("Grü", "", calls(&[])),
        ("ße", " well", calls(&[])),
        ("", "", calls(&[piece(0, Some("a"), ""), piece(7, Some("b"), "{")])),
        ("!", "", calls(&[piece(0, None, "{}")])),
        ("", "", calls(&[piece(7, None, "\"x\":1}")])),
    ];
    let mut offset = 0;
    let place = |(text, reasoning, tool_calls): (&str, &str, _)| {
        let (text, reasoning) = (text.to_owned(), reasoning.to_owned());
        let delta = Delta { offset, text, reasoning, tool_calls };
        offset += delta.text.len() as u64;
        delta
    };
    deltas.into_iter().map(place).collect()
}

fn cuts(deltas: &[Delta]) -> Cuts {
    let mut cuts = Cuts::default();
    for delta in deltas {
        cuts.push(delta.text.len(), delta.reasoning.len(), &delta.tool_calls);
    }
    cuts
}

#[test]
fn an_answer_is_cut_as_it_was_published() {
    let deltas = published();
    let reasoning = ContentPart::Reasoning { text: "Hm… well".to_owned() };
    let content = [reasoning, ContentPart::text("Grüße!")];
    assert_eq!(cut(&content, &cuts(&deltas)), deltas);
}

/// Its frames keep their places, so that whoever comes back still finds the end.
#[test]
fn a_forgotten_answer_says_nothing() {
    let deltas = published();
    let empty = cut(&[], &cuts(&deltas));
    let places: Vec<u64> = deltas.iter().map(|delta| delta.offset).collect();
    let nothing = |offset| Delta { offset, ..Delta::default() };
    assert_eq!(empty, places.into_iter().map(nothing).collect::<Vec<_>>());
}
