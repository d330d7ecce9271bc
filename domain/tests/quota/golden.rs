//! The account's events as the log holds them; see `golden/files.rs`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone, Utc};
use domain::quota::{
    Amount, Level, LimitKind, LimitOverrides, Limits, Posting, Quantity, QuotaEvent, Repriced,
    ResetScope, Sum, Threshold,
};
use domain::{Price, ReservationId, TurnId, Usage, UserId};
use serde_json::Value;
use uuid::Uuid;

use crate::files::Golden;
use crate::given::credits;

const GOLDEN: Golden = Golden("quota");

fn at() -> DateTime<Utc> {
    Utc.timestamp_opt(1_767_323_045, 123_456_000).unwrap()
}

fn uuid(last: u8) -> Uuid {
    Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(last))
}

fn by() -> UserId {
    "auth0|5f7c".parse().unwrap()
}

fn reason() -> String {
    "Grüße 👋".to_owned()
}

fn limits() -> Limits {
    Limits {
        requests_per_minute: 60,
        tokens_per_day: 100_000,
        tokens_per_month: 1_000_000,
        tokens_total: 10_000_000,
        credits_per_day: credits("1.5"),
        credits_per_month: credits("20"),
        credit_balance: credits("100.25"),
    }
}

fn overrides() -> LimitOverrides {
    LimitOverrides {
        requests_per_minute: Some(61),
        tokens_per_day: Some(100_001),
        tokens_per_month: Some(1_000_001),
        tokens_total: Some(10_000_001),
        credits_per_day: Some(credits("2.5")),
        credits_per_month: Some(credits("21")),
        credit_balance: Some(credits("101.25")),
    }
}

fn amount() -> Amount {
    Amount { tokens: 52, credits: credits("0.000000000001") }
}

fn price() -> Price {
    Price {
        input_per_1k: credits("0.15"),
        cached_input_per_1k: Some(credits("0.075")),
        output_per_1k: credits("0.6"),
    }
}

fn posting() -> Posting {
    Posting {
        change: Sum { tokens: -52, credits: credits("-0.0125") },
        balance: Sum { tokens: 9_999_948, credits: credits("100.2375") },
    }
}

/// Every variant, with every field filled.
fn all() -> Vec<QuotaEvent> {
    [all_of_use(), all_of_administration()].concat()
}

fn all_of_use() -> Vec<QuotaEvent> {
    let reservation_id = ReservationId(uuid(4));
    let (service, model) = ("chat".to_owned(), "gpt-4o".to_owned());
    vec![
        QuotaEvent::QuotaReserved {
            reservation_id,
            service: service.clone(),
            model: model.clone(),
            amount: amount(),
            price: Some(price()),
            expires_at: at(),
            answer_tokens: 500,
            extends: true,
            at: at(),
        },
        QuotaEvent::QuotaConsumed {
            entry_id: uuid(4),
            reservation_id: Some(reservation_id),
            turn_id: Some(TurnId(uuid(4))),
            service,
            model,
            usage: Usage {
                prompt_tokens: 40,
                completion_tokens: 12,
                cached_tokens: 32,
                reasoning_tokens: 4,
                estimated: true,
            },
            price: Some(price()),
            priced_at: at(),
            amount: amount(),
            overdrawn: Amount { tokens: 2, credits: credits("0.5") },
            late: true,
            posting: posting(),
            at: at(),
        },
        QuotaEvent::ReservationReleased { reservation_id, reason: reason(), at: at() },
        QuotaEvent::ReservationExpired { reservation_id, at: at() },
        QuotaEvent::ThresholdCrossed {
            threshold: Threshold {
                limit: LimitKind::CreditsPerDay,
                level: Level::Critical,
                window: Some(at().date_naive()),
                left: Quantity::Credits(credits("0.1")),
                of: Quantity::Credits(credits("1.5")),
            },
            turn_id: Some(TurnId(uuid(4))),
            at: at(),
        },
    ]
}

fn all_of_administration() -> Vec<QuotaEvent> {
    let (posting, reason, by, at) = (posting(), reason(), by(), at());
    vec![
        QuotaEvent::AccountOpened {
            tenant_id: "acme".parse().unwrap(),
            user_id: by.clone(),
            tier: "free".to_owned(),
            limits: limits(),
            posting,
            at,
        },
        QuotaEvent::TierChanged {
            tier: "pro".to_owned(),
            limits: limits(),
            posting,
            reason: reason.clone(),
            by: by.clone(),
            at,
        },
        QuotaEvent::LimitsOverridden {
            overrides: overrides(),
            posting,
            reason: reason.clone(),
            by: by.clone(),
            at,
        },
        QuotaEvent::QuotaRecharged {
            entry_id: uuid(5),
            posting,
            reason: reason.clone(),
            by: by.clone(),
            at,
        },
        QuotaEvent::QuotaSuspended { reason: reason.clone(), by: by.clone(), at },
        QuotaEvent::QuotaActivated { reason: reason.clone(), by: by.clone(), at },
        QuotaEvent::QuotaReset {
            scope: ResetScope::All,
            posting,
            reason: reason.clone(),
            by: by.clone(),
            at,
        },
        QuotaEvent::AdjustmentPosted {
            entry_id: uuid(6),
            posting,
            reprices: Some(Repriced {
                entry_id: uuid(4),
                service: "chat".to_owned(),
                model: "gpt-4o".to_owned(),
                consumed_at: at,
                price: Some(price()),
            }),
            reason,
            by,
            at,
        },
    ]
}

/// How many variants there are. A new one does not compile until it is counted here, and then
/// fails until [`all`] has it.
fn number_of(event: &QuotaEvent) -> usize {
    use QuotaEvent as E;
    match event {
        E::QuotaReserved { .. } => 0,
        E::QuotaConsumed { .. } => 1,
        E::ReservationReleased { .. } => 2,
        E::ReservationExpired { .. } => 3,
        E::ThresholdCrossed { .. } => 4,
        E::AccountOpened { .. } => 5,
        E::TierChanged { .. } => 6,
        E::LimitsOverridden { .. } => 7,
        E::QuotaRecharged { .. } => 8,
        E::QuotaSuspended { .. } => 9,
        E::QuotaActivated { .. } => 10,
        E::QuotaReset { .. } => 11,
        E::AdjustmentPosted { .. } => 12,
    }
}
const VARIANTS: usize = 13;

#[test]
fn every_variant_is_here() {
    let numbers: Vec<usize> = all().iter().map(number_of).collect();
    assert_eq!(numbers, (0..VARIANTS).collect::<Vec<_>>());
}

#[test]
fn what_the_log_holds_is_understood() {
    GOLDEN.are_understood(&all());
}

#[test]
fn what_is_written_has_the_shape_of_the_log() {
    GOLDEN.are_written(&all());
}

#[test]
fn no_file_is_left_over() {
    GOLDEN.are_all_of(&all());
}

/// Shapes only grow: an older version reads a newer one's events, and their parts too.
#[test]
fn fields_of_newer_versions_are_passed_over() {
    for event in all() {
        let mut json = serde_json::to_value(&event).unwrap();
        grow(&mut json);
        assert_eq!(serde_json::from_value::<QuotaEvent>(json).unwrap(), event);
    }
}

/// Adds a field to every object.
fn grow(json: &mut Value) {
    let Value::Object(fields) = json else { return };
    fields.values_mut().for_each(grow);
    // The outermost one is the variant's name alone.
    if fields.len() > 1 {
        fields.insert("of_tomorrow".to_owned(), Value::Bool(true));
    }
}

/// The words that are stored: a renamed one would no longer be understood.
#[test]
fn words_are_stored_as_they_are_configured() {
    for limit in LimitKind::ALL {
        assert_eq!(serde_json::to_value(limit).unwrap(), limit.as_str());
    }
    for level in Level::ALL {
        assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
    }
    let scopes = [ResetScope::Day, ResetScope::Month, ResetScope::Balance, ResetScope::All];
    assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["day","month","balance","all"]"#);
    let tokens: BTreeMap<&str, Quantity> = BTreeMap::from([("left", Quantity::Count(7))]);
    assert_eq!(serde_json::to_string(&tokens).unwrap(), r#"{"left":7}"#);
}

/// Tokens are numbers and money is text: neither is taken for the other.
#[test]
fn a_quantity_is_read_as_what_it_was() {
    for quantity in [Quantity::Count(0), Quantity::Count(u64::MAX), Quantity::Credits(credits("7"))]
    {
        let json = serde_json::to_string(&quantity).unwrap();
        assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), quantity);
    }
}
