//! The figures, for people and for programs.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::Measured;

/// One number of connections, both ways.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) connections: usize,
    pub(crate) direct: Measured,
    pub(crate) through: Measured,
}

/// Prints a round; the first one with a heading.
pub(crate) fn line(round: &Round, heading: bool) {
    let mut out = std::io::stdout();
    if heading {
        let _ = writeln!(
            out,
            "{:>11}  {:>9}  {:>9}  {:>8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>12}",
            "connections",
            "turns/s",
            "direct/s",
            "ratio",
            "first p50",
            "first p95",
            "first p99",
            "whole p50",
            "direct first"
        );
    }
    let through = &round.through;
    let _ = writeln!(
        out,
        "{:>11}  {:>9.0}  {:>9.0}  {:>8.3}  {:>6.2} ms  {:>6.2} ms  {:>6.2} ms  {:>6.2} ms  {:>9.2} ms",
        round.connections,
        through.rate(),
        round.direct.rate(),
        through.rate() / round.direct.rate(),
        millis(&through.first_token, 50),
        millis(&through.first_token, 95),
        millis(&through.first_token, 99),
        millis(&through.whole, 50),
        millis(&round.direct.first_token, 50),
    );
}

/// All rounds as JSON.
pub(crate) fn json(rounds: &[Round], tokens: u16) -> serde_json::Result<String> {
    let rounds: Vec<Value> = rounds
        .iter()
        .map(|round| {
            json!({
                "connections": round.connections,
                "through": figures(&round.through),
                "direct": figures(&round.direct),
                "ratio": round.through.rate() / round.direct.rate(),
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "tokens": tokens, "rounds": rounds }))
}

fn figures(measured: &Measured) -> Value {
    let times = |sorted: &[Duration]| json!({ "p50": millis(sorted, 50), "p95": millis(sorted, 95), "p99": millis(sorted, 99) });
    json!({
        "answers": measured.whole.len(),
        "per_second": measured.rate(),
        "first_token_ms": times(&measured.first_token),
        "whole_ms": times(&measured.whole),
    })
}

/// A percentile in milliseconds; 0 of nothing.
fn millis(sorted: &[Duration], percentile: usize) -> f64 {
    let index = (sorted.len() * percentile / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
