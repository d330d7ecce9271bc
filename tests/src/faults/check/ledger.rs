//! I6: what accounts were charged is what the provider told, and no limit was ever passed.

use std::collections::HashMap;

use serde_json::Value;

use super::turns::{gave, questions};
use super::{Evidence, Log};

/// The tokens that completed turns were charged, all together, are those of the provider's
/// meter for the calls whose answers were accepted.
pub(super) fn is_the_providers_meter(evidence: &Evidence<'_>) {
    let mut charged: HashMap<&str, u64> = HashMap::new();
    for event in evidence.log.called("QuotaConsumed") {
        let turn = event.text("turn_id");
        let again = charged.insert(turn, tokens(event.field("usage")));
        assert!(again.is_none() || turn.is_empty(), "I6: charged twice: {event:?}");
    }
    for (turn, question) in questions(evidence) {
        let end = &evidence.ends[turn];
        let calls = evidence.calls.get(question).map(Vec::as_slice).unwrap_or_default();
        let accepted =
            calls.iter().rfind(|call| end.text.as_ref().is_some_and(|text| gave(call, text)));
        if end.event == "TurnCompleted"
            && let Some(usage) = accepted.and_then(|call| call.usage)
        {
            let metered = usage.prompt + usage.completion;
            assert_eq!(charged.get(turn), Some(&metered), "I6: turn {turn}, {accepted:?}");
        }
    }
}

/// In no prefix of the log has anybody used and held more than their limit, but for what is
/// flagged as overdrawn.
pub(super) fn limits_hold_in_every_prefix(log: &Log) {
    let mut accounts: HashMap<&str, Account> = HashMap::new();
    for event in log.events.iter().filter(|event| event.kind == "quota") {
        let account = accounts.entry(&event.stream).or_default();
        let turn = event.text("reservation_id").to_owned();
        match event.name.as_str() {
            "AccountOpened" | "TierChanged" => account.limit = limit(event.field("limits")),
            "QuotaReserved" => {
                let held = account.held.entry(turn).or_default();
                let amount = amount(event.field("amount"));
                *held = if event.field("extends") == true { *held + amount } else { amount };
            }
            "QuotaConsumed" => {
                account.held.remove(&turn);
                account.used += amount(event.field("amount"));
                account.overdrawn += amount(event.field("overdrawn"));
            }
            "ReservationReleased" | "ReservationExpired" => drop(account.held.remove(&turn)),
            _ => {}
        }
        let held: i64 = account.held.values().sum();
        let within = account.used - account.overdrawn + held;
        assert!(
            account.limit.is_none_or(|limit| within <= limit),
            "I6: {within} used and held of {:?} at {event:?}",
            account.limit
        );
    }
}

#[derive(Default)]
struct Account {
    limit: Option<i64>,
    used: i64,
    overdrawn: i64,
    held: HashMap<String, i64>,
}

fn limit(limits: &Value) -> Option<i64> {
    limits["tokens_total"].as_i64().filter(|limit| *limit > 0)
}

fn amount(amount: &Value) -> i64 {
    amount["tokens"].as_i64().unwrap_or(0)
}

fn tokens(usage: &Value) -> u64 {
    let of = |name: &str| usage[name].as_u64().unwrap_or(0);
    of("prompt_tokens") + of("completion_tokens")
}
