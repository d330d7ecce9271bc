//! What happens to accounts in the stories.

use chrono::{DateTime, Utc};
use domain::quota::{
    Amount, Level, LimitKind, Limits, Posting, Quantity, QuotaEvent, Repriced, Sum, Threshold,
};
use domain::{AccountId, Credits, Price, ReservationId, TurnId, Usage, UserId};
use uuid::Uuid;

use super::{at, turn};

pub(crate) fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

pub(crate) fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

pub(crate) fn admin() -> UserId {
    "root".parse().unwrap()
}

/// A line that adds `tokens` and `money` and comes to `balance` in money.
pub(crate) fn posting(tokens: i64, money: &str, balance: &str) -> Posting {
    Posting {
        change: Sum { tokens, credits: credits(money) },
        balance: Sum { tokens, credits: credits(balance) },
    }
}

pub(crate) fn opened() -> QuotaEvent {
    QuotaEvent::AccountOpened {
        tenant_id: "acme".parse().unwrap(),
        user_id: "ann".parse().unwrap(),
        tier: "free".to_owned(),
        limits: Limits { credit_balance: credits("10"), ..Limits::default() },
        posting: posting(0, "10", "10"),
        at: at(0),
    }
}

pub(crate) fn reserved(turn_id: u128, until: i64) -> QuotaEvent {
    QuotaEvent::QuotaReserved {
        reservation_id: ReservationId::from(turn(turn_id)),
        service: "chat".to_owned(),
        model: "m-1".to_owned(),
        amount: Amount { tokens: 20, credits: credits("2") },
        price: None,
        expires_at: at(until),
        answer_tokens: 4,
        extends: false,
        at: at(1),
    }
}

/// Eight tokens that a turn used, by a price that makes them cost `money`.
pub(crate) fn consumed(turn_id: u128, money: &str, when: DateTime<Utc>) -> QuotaEvent {
    let usage = Usage { prompt_tokens: 3, completion_tokens: 5, ..Usage::default() };
    let amount = Amount { tokens: 8, credits: credits(money) };
    let change = Sum::from(amount).negated();
    QuotaEvent::QuotaConsumed {
        entry_id: turn(turn_id).0,
        reservation_id: Some(ReservationId::from(turn(turn_id))),
        turn_id: Some(turn(turn_id)),
        service: "chat".to_owned(),
        model: "m-1".to_owned(),
        usage,
        price: Some(Price { output_per_1k: credits("1"), ..Price::default() }),
        priced_at: at(1),
        amount,
        overdrawn: Amount { tokens: 2, credits: Credits::ZERO },
        late: true,
        posting: Posting { change, balance: change },
        at: when,
    }
}

pub(crate) fn crossed(turn_id: Option<TurnId>) -> QuotaEvent {
    let threshold = Threshold {
        limit: LimitKind::CreditBalance,
        level: Level::Warning,
        window: None,
        left: Quantity::Credits(credits("1.5")),
        of: Quantity::Credits(credits("10")),
    };
    QuotaEvent::ThresholdCrossed { threshold, turn_id, at: at(4) }
}

/// The price of what a turn used is corrected by `money`.
pub(crate) fn repriced(turn_id: u128, money: &str, consumed_at: DateTime<Utc>) -> QuotaEvent {
    QuotaEvent::AdjustmentPosted {
        entry_id: Uuid::from_u128(77),
        posting: posting(0, money, money),
        reprices: Some(Repriced {
            entry_id: turn(turn_id).0,
            service: "chat".to_owned(),
            model: "m-1".to_owned(),
            consumed_at,
            price: None,
        }),
        reason: "wrong price".to_owned(),
        by: admin(),
        at: at(400_000),
    }
}

pub(crate) fn suspended(second: i64, reason: &str) -> QuotaEvent {
    QuotaEvent::QuotaSuspended { reason: reason.to_owned(), by: admin(), at: at(second) }
}

pub(crate) fn activated(second: i64) -> QuotaEvent {
    QuotaEvent::QuotaActivated { reason: String::new(), by: admin(), at: at(second) }
}
