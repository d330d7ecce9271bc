//! What is refused, and that nothing is written then.

use domain::quota::{QuotaCommand, QuotaRejection, QuotaRejectionKind, ResetScope};
use domain::{Actor, ActorRole, Usage};

use crate::given::{
    account, activate, actor, ada, adjust, change_tier, consume, consume_all, credits, entry,
    expire, extend, free, hold_id, open, override_limits, recharge, release, reserve, reset, root,
    settle, sum, suspend, usage,
};

fn use_of_it() -> Vec<QuotaCommand> {
    vec![reserve(2, 1, 1), extend(1, 1), consume(3, 1, 1), settle(1, 1, 1), release(1)]
}

fn administration() -> Vec<QuotaCommand> {
    vec![
        open(None),
        change_tier("pro"),
        override_limits(r#"{"tokens_per_day": 5}"#),
        expire(1),
        recharge(2, 1, "1"),
        suspend(),
        activate(),
        reset(ResetScope::All),
        adjust(3, 1, "1"),
    ]
}

fn refusals(by: &Actor, commands: Vec<QuotaCommand>) -> Vec<Option<QuotaRejection>> {
    let story = account("{}").does(reserve(1, 1, 1)).by(by.clone());
    commands.into_iter().map(|command| story.when(command).inspect_result().err()).collect()
}

#[test]
fn a_user_uses_and_an_admin_administers() {
    for may in [ada(), root(), Actor::system(ada().tenant_id)] {
        assert!(refusals(&may, use_of_it()).iter().all(Option::is_none), "{may:?}");
    }
    for refused in refusals(&ada(), administration()) {
        assert_eq!(refused, Some(QuotaRejection::AdminOnly));
    }
    for may in [root(), Actor::system(ada().tenant_id)] {
        let refused: Vec<_> = refusals(&may, administration()).into_iter().flatten().collect();
        assert_eq!(refused, [QuotaRejection::AccountExists, QuotaRejection::NotExpired]);
    }
    assert_eq!(QuotaRejection::AdminOnly.kind(), QuotaRejectionKind::Forbidden);
}

/// Not even that there is an account.
#[test]
fn nobody_else_learns_anything() {
    let eve = actor("acme", "eve", ActorRole::User);
    let others = [
        actor("other", "ada", ActorRole::User),
        actor("other", "root", ActorRole::Admin),
        Actor::system("other".parse().unwrap()),
    ];
    for stranger in others.into_iter().chain([eve]) {
        let commands = [use_of_it(), administration()].concat();
        for refused in refusals(&stranger, commands) {
            assert_eq!(refused, Some(QuotaRejection::AccountNotFound), "{stranger:?}");
        }
    }
    assert_eq!(QuotaRejection::AccountNotFound.kind(), QuotaRejectionKind::NotFound);
}

fn field_of(command: QuotaCommand) -> Option<&'static str> {
    let refusal = account("{}").does(reserve(1, 1, 1)).refusal(command);
    assert_eq!(refusal.kind(), QuotaRejectionKind::Invalid, "{refusal}");
    refusal.field()
}

#[test]
fn money_that_cannot_be_is_refused() {
    assert_eq!(field_of(recharge(1, 0, "0")), Some("credits"));
    assert_eq!(field_of(recharge(1, 0, "-1")), Some("credits"));
    assert_eq!(field_of(recharge(1, 5, "-0.000000000001")), Some("credits"));
    assert_eq!(field_of(recharge(1, 0, "1000000000000.000000000001")), Some("credits"));
    assert_eq!(field_of(recharge(1, 1_000_000_000_001, "0")), Some("tokens"));
    assert_eq!(field_of(recharge(1, u64::MAX, "0")), Some("tokens"));
    assert_eq!(field_of(adjust(1, 0, "0")), Some("credits"));
    assert_eq!(field_of(adjust(1, 0, "1000000000001")), Some("credits"));
    assert_eq!(field_of(adjust(1, 0, "-1000000000001")), Some("credits"));
    assert_eq!(field_of(adjust(1, i64::MAX, "0")), Some("tokens"));
    assert_eq!(field_of(adjust(1, i64::MIN, "0")), Some("tokens"));
}

#[test]
fn a_balance_stays_where_sums_are_exact() {
    let story = account("{}").does(recharge(1, 1_000_000_000_000, "1000000000000"));
    assert_eq!(story.refusal(recharge(2, 1, "0")).field(), Some("tokens"));
    assert_eq!(story.refusal(recharge(2, 0, "0.000000000001")).field(), Some("credits"));
    let story = story.does(adjust(3, -1, "-0.000000000001"));
    assert_eq!(story.account.balance, sum(999_999_999_999, "999999999999.999999999999"));
}

#[test]
fn limits_that_cannot_be_are_refused() {
    for (json, field) in [
        (r#"{"requests_per_minute": 10001}"#, "requests_per_minute"),
        (r#"{"tokens_per_day": 1000000000001}"#, "tokens_per_day"),
        (r#"{"tokens_per_month": 18446744073709551615}"#, "tokens_per_month"),
        (r#"{"tokens_total": 1000000000001}"#, "tokens_total"),
        (r#"{"credits_per_day": "-1"}"#, "credits_per_day"),
        (r#"{"credits_per_month": "1000000000001"}"#, "credits_per_month"),
        (r#"{"credit_balance": "-0.1"}"#, "credit_balance"),
    ] {
        assert_eq!(field_of(override_limits(json)), Some(field));
    }
    for json in [
        r#"{"tokens_per_day": -1}"#,
        r#"{"tokens_per_day": 1.5}"#,
        r#"{"credit_balance": "many"}"#,
        r#"{"credit_balance": true}"#,
        r#"{"credit_balance": 1e300}"#,
    ] {
        let patch = serde_json::from_str::<domain::quota::LimitsPatch>(json);
        assert!(patch.is_err(), "{json} was taken");
        assert!(serde_json::from_str::<domain::quota::Limits>(json).is_err(), "{json} was taken");
    }
    let unknown = serde_json::from_str::<domain::quota::LimitsPatch>(r#"{"tokens_per_week": 1}"#);
    assert!(unknown.is_err());
}

#[test]
fn usage_that_cannot_be_is_refused() {
    assert_eq!(field_of(consume(1, 0, 0)), Some("usage"));
    let cached = Usage { cached_tokens: 11, ..usage(10, 10) };
    assert_eq!(field_of(consume_all(1, cached)), Some("cached_tokens"));
    let reasoned = Usage { reasoning_tokens: 11, ..usage(10, 10) };
    assert_eq!(field_of(consume_all(1, reasoned)), Some("reasoning_tokens"));
}

#[test]
fn names_that_cannot_be_are_refused() {
    let named = |command: QuotaCommand, name: &str| match command {
        QuotaCommand::ReserveQuota(mut reserve) => {
            reserve.service = name.to_owned();
            QuotaCommand::ReserveQuota(reserve)
        }
        QuotaCommand::ConsumeQuota(mut consume) => {
            consume.model = name.to_owned();
            QuotaCommand::ConsumeQuota(consume)
        }
        command => command,
    };
    for name in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(field_of(named(reserve(2, 1, 1), name)), Some("service"), "{name:?}");
        assert_eq!(field_of(named(consume(2, 1, 1), name)), Some("model"), "{name:?}");
    }
    let longest = named(free(reserve(2, 1, 1)), &"x".repeat(255));
    assert_eq!(account("{}").names_of(longest), ["QuotaReserved"]);
}

fn with_reason(command: QuotaCommand, why: &str) -> QuotaCommand {
    let reason = why.to_owned();
    match command {
        QuotaCommand::ChangeTier { tier, .. } => QuotaCommand::ChangeTier { tier, reason },
        QuotaCommand::OverrideLimits { limits, .. } => {
            QuotaCommand::OverrideLimits { limits, reason }
        }
        QuotaCommand::ReleaseReservation { reservation_id, .. } => {
            QuotaCommand::ReleaseReservation { reservation_id, reason }
        }
        QuotaCommand::RechargeQuota { entry_id, tokens, credits, .. } => {
            QuotaCommand::RechargeQuota { entry_id, tokens, credits, reason }
        }
        QuotaCommand::SuspendQuota { .. } => QuotaCommand::SuspendQuota { reason },
        QuotaCommand::ActivateQuota { .. } => QuotaCommand::ActivateQuota { reason },
        QuotaCommand::ResetQuota { scope, .. } => QuotaCommand::ResetQuota { scope, reason },
        QuotaCommand::PostAdjustment { entry_id, change, reprices, .. } => {
            QuotaCommand::PostAdjustment { entry_id, change, reprices, reason }
        }
        command => command,
    }
}

#[test]
fn a_reason_is_not_a_novel() {
    let long = "é".repeat(501);
    let story = account("{}").does(reserve(1, 1, 1));
    let commands = [
        change_tier("pro"),
        override_limits(r#"{"tokens_per_day": 5}"#),
        release(1),
        recharge(2, 1, "1"),
        suspend(),
        reset(ResetScope::All),
        adjust(3, 1, "1"),
    ];
    for command in commands {
        let refusal = story.refusal(with_reason(command.clone(), &long));
        assert_eq!(refusal.field(), Some("reason"), "{}", command.name());
        assert_eq!(refusal.to_string(), "`reason` must have at most 500 characters");
        let fits = with_reason(command, &"é".repeat(500));
        assert!(story.when(fits).inspect_result().is_ok());
    }
    let suspended = story.does(suspend());
    assert_eq!(suspended.refusal(with_reason(activate(), &long)).field(), Some("reason"));
}

#[test]
fn money_and_suspension_need_a_reason() {
    for command in [recharge(2, 1, "1"), suspend(), adjust(3, 1, "1")] {
        for none in ["", " \t"] {
            assert_eq!(field_of(with_reason(command.clone(), none)), Some("reason"));
        }
    }
}

#[test]
fn a_tier_that_is_not_there_is_refused() {
    assert_eq!(field_of(change_tier("platinum")), Some("tier"));
}

/// The codes are part of the interface.
#[test]
fn every_refusal_has_its_code() {
    let story = account("{}").does(reserve(1, 1, 1));
    for (command, code, kind) in [
        (open(None), "account_exists", QuotaRejectionKind::Conflict),
        (expire(1), "reservation_not_expired", QuotaRejectionKind::Conflict),
        (expire(2), "reservation_not_found", QuotaRejectionKind::NotFound),
        (extend(2, 1), "reservation_not_found", QuotaRejectionKind::NotFound),
        (change_tier("x"), "unknown_tier", QuotaRejectionKind::Invalid),
        (recharge(1, 0, "0"), "invalid_field", QuotaRejectionKind::Invalid),
    ] {
        let refusal = story.refusal(command);
        assert_eq!((refusal.code(), refusal.kind()), (code, kind));
    }
    let suspended = story.does(suspend()).refusal(reserve(2, 1, 1));
    assert_eq!(suspended.kind(), QuotaRejectionKind::Forbidden);
    let exhausted = account(r#"{"tokens_total": 1}"#).refusal(reserve(2, 1, 1));
    assert_eq!(exhausted.kind(), QuotaRejectionKind::Exhausted);
    assert_eq!(
        exhausted.to_string(),
        "tokens_total: 2 needed, 1 of 1 left; waiting won't help: recharge the account, raise its \
         limit or ask for less"
    );
}

/// What a client sends is hashed to know a repeat by; the ids that were made for it are not.
#[test]
fn a_repeat_is_known_by_what_was_asked() {
    let json = |entry_id| {
        let command = QuotaCommand::RechargeQuota {
            entry_id,
            tokens: 1,
            credits: credits("0.50"),
            reason: "r".to_owned(),
        };
        serde_json::to_value(command).unwrap()
    };
    assert_eq!(json(entry(1)), json(entry(2)));
    let named = serde_json::json!({
        "command": "RechargeQuota", "tokens": 1, "credits": "0.5", "reason": "r",
    });
    assert_eq!(json(entry(1)), named);
    let extends = serde_json::to_value(extend(1, 5)).unwrap();
    assert_eq!(extends["reservation_id"], serde_json::json!(hold_id(1)));
    assert_eq!(extends["command"], "ReserveQuota");
}
