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

/// How long it took until something happened: what, and the times, shortest first.
pub(crate) type Reaction = (&'static str, Vec<Duration>);

/// Prints those that were measured.
pub(crate) fn reactions(reactions: &[Reaction]) {
    let mut out = std::io::stdout();
    let _ = writeln!(
        out,
        "\n{:>11}  {:>9}  {:>11}  {:>11}  {:>11}",
        "until", "count", "p50", "p95", "p99"
    );
    for (what, sorted) in reactions.iter().filter(|(_, sorted)| !sorted.is_empty()) {
        let [p50, p95, p99] = [50, 95, 99].map(|percentile| millis(sorted, percentile));
        let _ = writeln!(
            out,
            "{what:>11}  {:>9}  {p50:>8.1} ms  {p95:>8.1} ms  {p99:>8.1} ms",
            sorted.len()
        );
    }
}

/// All of it as JSON.
pub(crate) fn json(
    rounds: &[Round],
    tokens: u16,
    reactions: &[Reaction],
) -> serde_json::Result<String> {
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
    let mut report = json!({ "tokens": tokens, "rounds": rounds });
    for (what, sorted) in reactions {
        report[format!("{what}_ms")] = times(sorted);
    }
    serde_json::to_string_pretty(&report)
}

fn figures(measured: &Measured) -> Value {
    json!({
        "answers": measured.whole.len(),
        "per_second": measured.rate(),
        "first_token_ms": times(&measured.first_token),
        "whole_ms": times(&measured.whole),
    })
}

fn times(sorted: &[Duration]) -> Value {
    let at = |percentile| millis(sorted, percentile);
    json!({ "count": sorted.len(), "p50": at(50), "p95": at(95), "p99": at(99) })
}

/// A percentile in milliseconds; 0 of nothing.
fn millis(sorted: &[Duration], percentile: usize) -> f64 {
    let index = (sorted.len() * percentile / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
