//! What no JSON body may hold, found before anything is made of it.
//!
//! - Nesting that could be stored but not be read back: an event wraps what it was sent a few
//!   levels deeper, and readers stop at 128.
//! - U+0000, which Postgres can't process in JSON.

/// Levels of objects and lists.
const MAX_DEPTH: usize = 64;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    TooDeep,
    Nul,
}

impl Refused {
    pub(crate) fn detail(self) -> String {
        match self {
            Self::TooDeep => format!("the body nests deeper than {MAX_DEPTH} levels"),
            Self::Nul => "texts must not hold the character U+0000".to_owned(),
        }
    }
}

/// Looks through `json`, which need not be valid.
pub(crate) fn check(json: &[u8]) -> Result<(), Refused> {
    let (mut depth, mut in_string) = (0_usize, false);
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if json[at..].starts_with(b"\\u0000") {
                    return Err(Refused::Nul);
                }
                // The escaped character means nothing here, even if it is a quote.
                bytes.next();
            }
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Refused::TooDeep);
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded_outside_of_strings() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(check(nested(64).as_bytes()), Ok(()));
        assert_eq!(check(nested(65).as_bytes()), Err(Refused::TooDeep));
        assert_eq!(check(format!("\"\\\"{}\"", nested(65)).as_bytes()), Ok(()));
    }

    #[test]
    fn only_the_character_itself_is_refused() {
        assert_eq!(check(br#"{"a": "x\u0000"}"#), Err(Refused::Nul));
        assert_eq!(check(br#"{"a": "x\\u0000"}"#), Ok(()));
        assert_eq!(check(br#"{"a": "\u0001"}"#), Ok(()));
    }
}
