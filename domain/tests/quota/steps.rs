//! Random lives of accounts: what is asked, when, and under which limits.

use std::collections::BTreeMap;

use domain::quota::{
    Account, ConsumeQuota, Limits, LimitsPatch, QuotaCommand, QuotaEvent, Repriced, ResetScope, Sum,
};
use domain::{Credits, ReservationId, Usage};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

use crate::given::{
    activate, adjust, change_tier, consume, entry, expire, extend, open, recharge, release,
    reserve, reset, settle, suspend,
};

/// A step. Holds are named by an index among those there are.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Open,
    Reserve {
        prompt: u32,
        answer: u32,
    },
    Extend(Index, u32),
    /// So many percent of a hold were used.
    Settle(Index, u32),
    Consume {
        prompt: u32,
        answer: u32,
        cached: u32,
    },
    Release(Index),
    Expire(Index),
    Recharge(u64, i64),
    Suspend,
    Activate,
    ChangeTier(&'static str),
    Override(LimitsPatch),
    Reset(ResetScope),
    Adjust(i64, i64),
    Reprice(Index, i64),
    /// A hold that is not there ends.
    Stray,
}

/// Thousandths of a credit.
pub(crate) fn thousandths(count: i64) -> Credits {
    Credits::whole(count).per_thousand()
}

fn tokens_limit() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 3 => 300_u64..4000]
}

fn credits_limit() -> impl Strategy<Value = Credits> {
    prop_oneof![1 => Just(0), 3 => 300_i64..5000].prop_map(thousandths)
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let requests = prop_oneof![1 => Just(0), 2 => 1_u32..6];
    let tokens = (tokens_limit(), tokens_limit(), tokens_limit());
    let credits = (credits_limit(), credits_limit(), credits_limit());
    (requests, tokens, credits).prop_map(|(requests_per_minute, tokens, credits)| Limits {
        requests_per_minute,
        tokens_per_day: tokens.0,
        tokens_per_month: tokens.1,
        tokens_total: tokens.2,
        credits_per_day: credits.0,
        credits_per_month: credits.1,
        credit_balance: credits.2,
    })
}

fn patch() -> impl Strategy<Value = LimitsPatch> {
    (
        prop::option::weighted(0.3, prop::option::of(0_u32..6)),
        prop::option::weighted(0.3, prop::option::of(tokens_limit())),
        prop::option::weighted(0.3, prop::option::of(tokens_limit())),
        prop::option::weighted(0.3, prop::option::of(credits_limit())),
        prop::option::weighted(0.3, prop::option::of(credits_limit())),
    )
        .prop_map(|(requests_per_minute, day, total, month, balance)| LimitsPatch {
            requests_per_minute,
            tokens_per_day: day,
            tokens_total: total,
            credits_per_month: month,
            credit_balance: balance,
            ..LimitsPatch::default()
        })
}

/// What only makes room, and uses what is held: no limit is ever exceeded by it.
fn tame() -> BoxedStrategy<Step> {
    let hold = any::<Index>;
    prop_oneof![
        8 => (0_u32..200, 0_u32..300).prop_map(|(prompt, answer)| Step::Reserve { prompt, answer }),
        3 => (hold(), 0_u32..200).prop_map(|(hold, tokens)| Step::Extend(hold, tokens)),
        6 => (hold(), 0_u32..=100).prop_map(|(hold, percent)| Step::Settle(hold, percent)),
        4 => (0_u32..150, 0_u32..150, 0_u32..150)
            .prop_map(|(prompt, answer, cached)| Step::Consume { prompt, answer, cached }),
        2 => hold().prop_map(Step::Release),
        2 => hold().prop_map(Step::Expire),
        1 => (0_u64..500, 0_i64..500).prop_map(|(tokens, credits)| Step::Recharge(tokens, credits)),
        1 => prop::bool::ANY.prop_map(|on| if on { Step::Suspend } else { Step::Activate }),
        1 => select(vec![ResetScope::Day, ResetScope::Month]).prop_map(Step::Reset),
        1 => (0_i64..200, 0_i64..200).prop_map(|(tokens, credits)| Step::Adjust(tokens, credits)),
        1 => (hold(), 1_i64..200).prop_map(|(entry, change)| Step::Reprice(entry, change)),
        1 => Just(Step::Stray),
    ]
    .boxed()
}

fn wild() -> BoxedStrategy<Step> {
    let hold = any::<Index>;
    prop_oneof![
        12 => tame(),
        1 => Just(Step::Open),
        2 => hold().prop_map(Step::Expire),
        1 => (hold(), 100_u32..400).prop_map(|(hold, percent)| Step::Settle(hold, percent)),
        1 => select(vec!["free", "pro"]).prop_map(Step::ChangeTier),
        1 => patch().prop_map(Step::Override),
        1 => select(vec![ResetScope::Balance, ResetScope::All]).prop_map(Step::Reset),
        1 => (-900_i64..200, -900_i64..200).prop_map(|(tokens, credits)| Step::Adjust(tokens, credits)),
        1 => (hold(), -200_i64..200).prop_map(|(entry, change)| Step::Reprice(entry, change)),
    ]
    .boxed()
}

/// Seconds until the next step; clocks may go back.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => 0_i64..25,
        3 => select(vec![59, 60, 61]),
        2 => select(vec![600, 3600]),
        1 => select(vec![-1, -61, -7200, -100_000]),
        1 => select(vec![40_000, 86_400, 31 * 86_400, 400 * 86_400]),
    ]
}

/// A life: the tiers' limits, and steps, each after a pause. A tame one never exceeds a limit.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) free: Limits,
    pub(crate) pro: Limits,
    pub(crate) steps: Vec<(Step, i64)>,
    pub(crate) tame: bool,
}

pub(crate) fn life(is_tame: bool) -> impl Strategy<Value = Life> {
    let step = if is_tame { tame() } else { wild() };
    let steps = prop::collection::vec((step, pause()), 1..80);
    (limits(), limits(), steps).prop_map(move |(free, pro, steps)| Life {
        free,
        pro,
        steps,
        tame: is_tame,
    })
}

/// The command that `step` is for this account.
pub(crate) fn command(
    step: &Step,
    number: u128,
    account: &Account,
    events: &[QuotaEvent],
    tame: bool,
) -> QuotaCommand {
    match step {
        Step::Open => open(None),
        Step::Reserve { prompt, answer } => reserve(number, *prompt, *answer),
        Step::Extend(hold, tokens) => extend(nth(account, *hold), *tokens),
        Step::Settle(hold, percent) => settled(account, nth(account, *hold), *percent, tame),
        Step::Consume { prompt, answer, cached } => {
            cached_by(consume(number, *prompt, *answer), *cached)
        }
        Step::Release(hold) => release(nth(account, *hold)),
        Step::Expire(hold) => expire(nth(account, *hold)),
        Step::Recharge(tokens, credits) => {
            recharge(number, *tokens, &thousandths(*credits).to_string())
        }
        Step::Suspend => suspend(),
        Step::Activate => activate(),
        Step::ChangeTier(tier) => change_tier(tier),
        Step::Override(limits) => {
            QuotaCommand::OverrideLimits { limits: limits.clone(), reason: "why".to_owned() }
        }
        Step::Reset(scope) => reset(*scope),
        Step::Adjust(tokens, credits) => {
            adjust(number, *tokens, &thousandths(*credits).to_string())
        }
        Step::Reprice(index, change) => repriced(number, *index, *change, events),
        Step::Stray => release(999_999),
    }
}

/// The number of one of the account's holds, or of one that is not there.
fn nth(account: &Account, index: Index) -> u128 {
    let ids: Vec<ReservationId> = account.holds.keys().copied().collect();
    if ids.is_empty() { 999_999 } else { ids[index.index(ids.len())].0.as_u128() }
}

/// So many percent of what a hold is for were used. What ran out of time in a tame life failed.
fn settled(account: &Account, number: u128, percent: u32, tame: bool) -> QuotaCommand {
    let Some(hold) = account.holds.get(&ReservationId(Uuid::from_u128(number))) else {
        return settle(number, 1, 1);
    };
    if tame && hold.expired {
        return release(number);
    }
    let tokens = u32::try_from(hold.amount.tokens).unwrap();
    // Money and tokens of the hold tell prompt and answer apart: p + 2a thousandths, p + a tokens.
    let money = hold.amount.credits.times(1000).as_count();
    let answer = u32::try_from(money.saturating_sub(u64::from(tokens))).unwrap();
    let prompt = tokens.saturating_sub(answer);
    settle(number, prompt * percent / 100, answer * percent / 100)
}

fn cached_by(command: QuotaCommand, cached: u32) -> QuotaCommand {
    let QuotaCommand::ConsumeQuota(consume) = command else { return command };
    let cached_tokens = cached.min(consume.usage.prompt_tokens);
    let usage = Usage { cached_tokens, ..consume.usage };
    QuotaCommand::ConsumeQuota(ConsumeQuota { usage, ..consume })
}

/// One of the entries so far costs so much less. Nobody gets more back than was paid.
fn repriced(number: u128, index: Index, change: i64, events: &[QuotaEvent]) -> QuotaCommand {
    let entries: Vec<&QuotaEvent> =
        events.iter().filter(|event| matches!(event, QuotaEvent::QuotaConsumed { .. })).collect();
    let Some(QuotaEvent::QuotaConsumed { entry_id, service, model, amount, at, .. }) =
        (!entries.is_empty()).then(|| entries[index.index(entries.len())])
    else {
        return adjust(number, 1, "0");
    };
    let change = Sum { tokens: 0, credits: thousandths(change).min(amount.credits) };
    QuotaCommand::PostAdjustment {
        entry_id: entry(number),
        change,
        reprices: Some(Repriced {
            entry_id: *entry_id,
            service: service.clone(),
            model: model.clone(),
            consumed_at: *at,
            price: None,
        }),
        reason: "why".to_owned(),
    }
}

/// Whether `after` allows less than `before` somewhere; 0 is unlimited.
pub(crate) fn are_lower(before: &Limits, after: &Limits) -> bool {
    let lower = |before: Credits, after: Credits| {
        after.is_positive() && (before.is_zero() || after < before)
    };
    let whole = |limit: u64| Credits::whole(i64::try_from(limit).unwrap());
    [
        (whole(before.requests_per_minute.into()), whole(after.requests_per_minute.into())),
        (whole(before.tokens_per_day), whole(after.tokens_per_day)),
        (whole(before.tokens_per_month), whole(after.tokens_per_month)),
        (whole(before.tokens_total), whole(after.tokens_total)),
        (before.credits_per_day, after.credits_per_day),
        (before.credits_per_month, after.credits_per_month),
        (before.credit_balance, after.credit_balance),
    ]
    .into_iter()
    .any(|(before, after)| lower(before, after))
}

/// The tiers of a life.
pub(crate) fn tiers(life: &Life) -> BTreeMap<String, Limits> {
    [("free", &life.free), ("pro", &life.pro)]
        .map(|(name, limits)| (name.to_owned(), limits.clone()))
        .into()
}
