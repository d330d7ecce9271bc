//! How a request is answered: read from the request itself, so that tests which share a
//! provider don't share a script.
//!
//! The last message may hold a directive such as `[[tokens=20 pause=10 cut=7 times=1]]`. Times
//! are in milliseconds.

use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `status=429`: this HTTP status, with an error body.
    Status(u16),
    /// `hang`: no answer at all, not even a status.
    Hang,
    /// `cut=7`: the connection is closed after so many tokens.
    Cut(usize),
    /// `stall=7`: after so many tokens nothing more comes.
    Stall(usize),
    /// `malformed=7`: after so many tokens a line that is no JSON, and the end.
    Malformed(usize),
    /// `error=7`: after so many tokens an error object in the stream.
    Error(usize),
}

/// How to answer one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// `tokens=8`: the answer's length.
    pub tokens: usize,
    /// `think=0`: so many of the tokens come first, as reasoning.
    pub think: usize,
    /// `call=0`: after the tokens, a tool call in so many pieces.
    pub call: usize,
    /// `first=0`: before the first token.
    pub first: Duration,
    /// `pause=0`: before each further token.
    pub pause: Duration,
    /// `gate=5`: after so many tokens nothing more comes until [`super::Provider::open`].
    pub gate: Option<usize>,
    /// `echo`: answer with the message itself, word by word.
    pub echo: bool,
    /// `no-usage`: say nothing of tokens used.
    pub no_usage: bool,
    /// `counting`: say it with every token, not only at the end.
    pub counting: bool,
    /// `claims=900`: say that the answer took so many tokens, whatever it took.
    pub claims: Option<usize>,
    /// `big=4096`: each token takes so many bytes.
    pub big: usize,
    /// `finishes=1`: so often the last chunks come, with usage and end mark.
    pub finishes: usize,
    /// What goes wrong, if anything.
    pub fault: Option<Fault>,
    /// `times=1`: in how many calls with this message it goes wrong; otherwise in all.
    pub times: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            tokens: 8,
            think: 0,
            call: 0,
            first: Duration::ZERO,
            pause: Duration::ZERO,
            gate: None,
            echo: false,
            no_usage: false,
            counting: false,
            claims: None,
            big: 0,
            finishes: 1,
            fault: None,
            times: usize::MAX,
        }
    }
}

impl Behaviour {
    /// The behaviour that `message` asks for.
    pub fn of(message: &str) -> Self {
        let mut behaviour = Self::default();
        let directive = message.split_once("[[").and_then(|(_, rest)| rest.split_once("]]"));
        for word in directive.map_or("", |(words, _)| words).split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, "0"));
            let number: usize = value.parse().unwrap_or_else(|_| panic!("{word:?} in [[…]]"));
            let time = Duration::from_millis(number as u64);
            match name {
                "tokens" => behaviour.tokens = number,
                "think" => behaviour.think = number,
                "call" => behaviour.call = number,
                "first" => behaviour.first = time,
                "pause" => behaviour.pause = time,
                "gate" => behaviour.gate = Some(number),
                "echo" => behaviour.echo = true,
                "no-usage" => behaviour.no_usage = true,
                "counting" => behaviour.counting = true,
                "claims" => behaviour.claims = Some(number),
                "big" => behaviour.big = number,
                "finishes" => behaviour.finishes = number,
                "times" => behaviour.times = number,
                "status" => {
                    behaviour.fault = Some(Fault::Status(u16::try_from(number).unwrap()));
                }
                "hang" => behaviour.fault = Some(Fault::Hang),
                "cut" => behaviour.fault = Some(Fault::Cut(number)),
                "stall" => behaviour.fault = Some(Fault::Stall(number)),
                "malformed" => behaviour.fault = Some(Fault::Malformed(number)),
                "error" => behaviour.fault = Some(Fault::Error(number)),
                other => panic!("unknown word {other:?} in [[…]]"),
            }
        }
        behaviour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_how_it_wants_to_be_answered() {
        assert_eq!(Behaviour::of("plain"), Behaviour::default());
        let asked = Behaviour::of("hi [[tokens=3 pause=10 cut=2 times=1 no-usage]] there");
        assert_eq!((asked.tokens, asked.times, asked.no_usage), (3, 1, true));
        assert_eq!(asked.pause, Duration::from_millis(10));
        assert_eq!(asked.fault, Some(Fault::Cut(2)));
    }
}
