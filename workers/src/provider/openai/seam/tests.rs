use domain::FinishReason;

use super::*;

/// What becomes of an answer in `pieces` that continues `prefix`.
fn joined(continuation: Continuation, prefix: &str, pieces: &[&str]) -> String {
    let finish = Ok(Chunk::Finish(FinishReason::Stop));
    let texts = pieces.iter().map(|text| Ok(Chunk::Text((*text).to_owned())));
    let items: Vec<_> = texts.chain([finish]).collect();
    let chunks: Vec<_> = match Seam::of(prefix, continuation) {
        Some(seam) => futures::executor::block_on(join(stream::iter(items), seam).collect()),
        None => items,
    };
    let text = |chunk: &Result<Chunk, _>| match chunk {
        Ok(Chunk::Text(text)) => {
            assert!(!text.is_empty());
            Some(text.clone())
        }
        _ => None,
    };
    assert!(matches!(chunks.last(), Some(Ok(Chunk::Finish(_)))), "it comes last");
    chunks.iter().filter_map(text).collect()
}

#[test]
fn white_space_that_was_kept_back_comes_once() {
    for (prefix, pieces, expected) in [
        ("One, ", &[" two"] as &[&str], "two"),
        ("One, ", &["two"], "two"),
        ("One,", &[" two"], " two"),
        ("a\n", &["\n\nb"], "\nb"),
        ("a\n\n", &["\n", "\n", "b"], "b"),
        ("a\n\n", &["\n", "b"], "b"),
        ("a\n\n", &["\n"], ""),
        ("a ", &["a b"], "a b"),
        (" \n", &[" \nb"], "b"),
    ] {
        assert_eq!(joined(Continuation::LastMessage, prefix, pieces), expected, "{prefix:?}");
    }
}

#[test]
fn a_repeat_is_left_out_where_the_server_is_known_to_repeat() {
    let prefix = "né 日本 ";
    for (pieces, expected) in [
        (&["né 日本", " so"] as &[&str], "so"),
        (&["né 日", "本 ", "so"], "so"),
        (&["né 日本 so"], "so"),
        (&["né 日本"], ""),
        (&["so"], "so"),
        (&["né 日"], "né 日"),
        (&["né ", "日曜"], "né 日曜"),
        (&["né 日本", " né 日本 "], "né 日本 "),
    ] {
        assert_eq!(joined(Continuation::PrefixFlagEcho, prefix, pieces), expected, "{pieces:?}");
    }
    let repeated = joined(Continuation::PrefixFlag, "ha", &["ha", "ha"]);
    assert_eq!(repeated, "haha", "elsewhere it belongs to the answer");
}

#[test]
fn what_is_no_text_passes() {
    let mut seam = Seam::of("a b", Continuation::PrefixFlagEcho).unwrap();
    assert_eq!(seam.pass(Ok(Chunk::Text("a".to_owned()))).len(), 0);
    assert_eq!(seam.pass(Ok(Chunk::Reasoning("hm".to_owned()))).len(), 1);
    assert_eq!(seam.pass(Ok(Chunk::Text(" b".to_owned()))).len(), 0);
    assert_eq!(seam.pass(Ok(Chunk::Text("c".to_owned()))).len(), 1);
}
