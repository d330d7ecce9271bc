use proptest::prelude::*;

use super::*;

fn decode(pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = SseDecoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(data) = decoder.next_event().unwrap() {
            events.push(String::from_utf8(data.to_vec()).unwrap());
        }
    }
    if let Some(data) = decoder.finish().unwrap() {
        events.push(String::from_utf8(data.to_vec()).unwrap());
    }
    events
}

#[test]
fn reads_all_forms_of_lines() {
    let input = b"\xEF\xBB\xBFdata: bom\n\n: comment\n\ndata:no space\r\n\r\nevent: x\nid: 7\n\
        data: a\ndata: b\n\nretry: 10\n\ndata\n\ndata: cr\r\rdata:  two\n\n\n\ndata: cut";
    assert_eq!(decode(&[input]), ["bom", "no space", "a\nb", "cr", " two", "cut"]);
}

#[test]
fn a_line_end_may_be_cut_in_two() {
    assert_eq!(decode(&[b"data: a\r", b"\n\r", b"\ndata: b\r\n", b"\r\n"]), ["a", "b"]);
}

#[test]
fn a_line_is_bounded() {
    let mut decoder = SseDecoder::default();
    let piece = vec![b'x'; 64 * 1024];
    let refused = (0..32).any(|_| {
        decoder.push(&piece);
        decoder.next_event() == Err(TooLong)
    });
    assert!(refused);
    assert!(decoder.buffer.len() <= MAX_EVENT + piece.len());
}

#[test]
fn an_event_of_many_lines_is_bounded() {
    let mut decoder = SseDecoder::default();
    let line = format!("data: {}\n", "x".repeat(64 * 1024));
    let refused = (0..32).any(|_| {
        decoder.push(line.as_bytes());
        decoder.next_event() == Err(TooLong)
    });
    assert!(refused);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        texts in prop::collection::vec("[a-zé漢😀 :]{0,12}", 0..8),
        endings in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r"]), 8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..16),
    ) {
        let mut input = String::from(": hello\n\n");
        for (text, ending) in texts.iter().zip(&endings) {
            input.extend(["data: ", text, ending, ": ping", ending, ending]);
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        places.extend([0, input.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> =
            places.windows(2).map(|pair| &input.as_bytes()[pair[0]..pair[1]]).collect();
        let expected: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        prop_assert_eq!(decode(&[input.as_bytes()]), expected.clone());
        prop_assert_eq!(decode(&pieces), expected);
    }
}
