//! An error with its causes in one line, for the one log line at the boundary.
//!
//! The errors themselves keep their source and say nothing of it, so nothing is said twice.

use std::error::Error;
use std::fmt;

/// Displays an error and all its causes.
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // A transparent error says the same as its cause.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the door is shut")]
    struct Shut;

    #[derive(Debug, thiserror::Error)]
    #[error("nobody came in")]
    struct Outer(#[source] Shut);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(#[from] Shut);

    #[test]
    fn every_cause_is_said_once() {
        assert_eq!(Causes(&Outer(Shut)).to_string(), "nobody came in: the door is shut");
        assert_eq!(Causes(&Through(Shut)).to_string(), "the door is shut");
    }
}
