//! Using an account: hold, settle, release, expire.

use chrono::{DateTime, Utc};

use crate::completion::Usage;
use crate::ids::ReservationId;
use crate::prices::Price;
use crate::quota::admit::admit;
use crate::quota::amount::{Amount, Sum};
use crate::quota::command::{ConsumeQuota, ReserveQuota};
use crate::quota::decide::{QuotaContext, posting};
use crate::quota::decide_admin::{checked, invalid};
use crate::quota::event::QuotaEvent;
use crate::quota::meters::Meters;
use crate::quota::rejection::QuotaRejection;
use crate::quota::state::{Account, Hold};

const MAX_NAME: usize = 255;

/// Holds room. A turn that has a hold is not asked for its price again.
pub(super) fn reserve(
    account: &Account,
    reserve: &ReserveQuota,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    check_names(&reserve.service, &reserve.model)?;
    let at = context.at(account);
    let hold = account.holds.get(&reserve.reservation_id);
    let price = match (hold, reserve.extends) {
        (None, true) => return Err(QuotaRejection::ReservationNotFound),
        (Some(hold), true) => hold.price,
        // The same turn again: it is held already.
        (Some(_), false) => return Ok(Vec::new()),
        (None, false) => price_at(&reserve.service, &reserve.model, at, context),
    };
    // A hold that expired meanwhile has to find room again as a whole.
    let expired = hold.filter(|hold| hold.expired).map(|hold| hold.amount).unwrap_or_default();
    let fits = |answer: u32| {
        let amount = amount_held(reserve.prompt_tokens, answer, price);
        admit(account, amount.plus(expired), !reserve.extends, at)
    };
    let answer = match fits(reserve.answer_tokens) {
        Ok(()) => reserve.answer_tokens,
        // An answer on its way takes what there is.
        Err(refusal) if reserve.extends => most_that(fits, reserve.answer_tokens).ok_or(refusal)?,
        Err(refusal) => return Err(refusal),
    };
    let amount = amount_held(reserve.prompt_tokens, answer, price);
    Ok(vec![QuotaEvent::QuotaReserved {
        reservation_id: reserve.reservation_id,
        service: reserve.service.clone(),
        model: reserve.model.clone(),
        amount,
        answer_tokens: answer,
        price,
        expires_at: at + context.policy.hold,
        extends: reserve.extends,
        at,
    }])
}

fn amount_held(prompt: u32, answer: u32, price: Option<Price>) -> Amount {
    Amount {
        tokens: u64::from(prompt) + u64::from(answer),
        credits: price.map(|price| price.most(prompt, answer)).unwrap_or_default(),
    }
}

/// The most tokens below `too_many` that fit, if any do: more never fit where less don't.
fn most_that(fits: impl Fn(u32) -> Result<(), QuotaRejection>, too_many: u32) -> Option<u32> {
    let (mut fit, mut too_many) = (0, too_many);
    while too_many - fit > 1 {
        let middle = fit + (too_many - fit) / 2;
        if fits(middle).is_ok() {
            fit = middle;
        } else {
            too_many = middle;
        }
    }
    (fit > 0).then_some(fit)
}

/// Charges what was used: of a hold in any case, for it is used already; without one only if
/// there is room.
pub(super) fn consume(
    account: &Account,
    consume: &ConsumeQuota,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let at = context.at(account);
    match consume.reservation_id {
        None => {
            check_names(&consume.service, &consume.model)?;
            check_usage(&consume.usage)?;
            let price = price_at(&consume.service, &consume.model, at, context);
            let amount = amount_of(&consume.usage, price);
            admit(account, amount, true, at)?;
            check_sums(account, amount)?;
            Ok(consumed(account, consume, (price, amount), None, at))
        }
        Some(id) => {
            // A turn from before there were accounts has none, and one that was settled has
            // none any more.
            let Some(hold) = account.holds.get(&id) else { return Ok(Vec::new()) };
            let charge = (hold.price, amount_of(&consume.usage, hold.price));
            Ok(consumed(account, consume, charge, Some(hold), at))
        }
    }
}

fn consumed(
    account: &Account,
    consume: &ConsumeQuota,
    (price, amount): (Option<Price>, Amount),
    hold: Option<&Hold>,
    at: DateTime<Utc>,
) -> Vec<QuotaEvent> {
    // The price is that of what was reserved, so the entry is, too.
    let (service, model) =
        hold.map_or((&consume.service, &consume.model), |hold| (&hold.service, &hold.model));
    let mut events = vec![QuotaEvent::QuotaConsumed {
        entry_id: consume.entry_id,
        reservation_id: consume.reservation_id,
        turn_id: consume.turn_id,
        service: service.clone(),
        model: model.clone(),
        usage: consume.usage,
        price,
        priced_at: hold.map_or(at, |hold| hold.priced_at),
        amount,
        overdrawn: amount.less(hold.map_or(amount, |hold| hold.amount)),
        late: hold.is_some_and(|hold| hold.expired),
        posting: posting(account.balance, Sum::from(amount).negated()),
        at,
    }];
    let after = Meters::of(account, at).consumed(amount);
    events.extend(after.crossings(account, consume.turn_id));
    events
}

/// Ends a hold; one that is gone is no matter.
pub(super) fn release(
    account: &Account,
    reservation_id: ReservationId,
    reason: &str,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let (reason, at) = (checked(reason)?, context.at(account));
    if !account.holds.contains_key(&reservation_id) {
        return Ok(Vec::new());
    }
    Ok(vec![QuotaEvent::ReservationReleased { reservation_id, reason, at }])
}

/// Ends a hold whose time is over; what its turn used is settled when it ends.
pub(super) fn expire(
    account: &Account,
    reservation_id: ReservationId,
    context: &QuotaContext,
) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let at = context.at(account);
    match account.holds.get(&reservation_id) {
        Some(hold) if hold.expired => Ok(Vec::new()),
        Some(hold) if hold.expires_at <= at => {
            Ok(vec![QuotaEvent::ReservationExpired { reservation_id, at }])
        }
        Some(_) => Err(QuotaRejection::NotExpired),
        None => Err(QuotaRejection::ReservationNotFound),
    }
}

fn price_at(
    service: &str,
    model: &str,
    at: DateTime<Utc>,
    context: &QuotaContext,
) -> Option<Price> {
    context.prices.at(service, model, at).map(|entry| entry.price)
}

fn amount_of(usage: &Usage, price: Option<Price>) -> Amount {
    Amount {
        tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
        credits: price.map(|price| price.cost(usage)).unwrap_or_default(),
    }
}

/// An amount beyond what sums are exact for would leave a ledger that doesn't add up. Turns are
/// far from it: a model's context bounds them.
fn check_sums(account: &Account, amount: Amount) -> Result<(), QuotaRejection> {
    let charge = posting(account.balance, Sum::from(amount).negated());
    let is_exact = charge.balance.minus(charge.change) == account.balance;
    let all = account.used.plus(amount);
    if is_exact && all.credits.minus(amount.credits) == account.used.credits {
        Ok(())
    } else {
        invalid("usage", "is more than the account can count")
    }
}

fn check_names(service: &str, model: &str) -> Result<(), QuotaRejection> {
    let is_name =
        |text: &str| (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    if !is_name(service) {
        invalid("service", "must be 1 to 255 printable characters")
    } else if !is_name(model) {
        invalid("model", "must be 1 to 255 printable characters")
    } else {
        Ok(())
    }
}

fn check_usage(usage: &Usage) -> Result<(), QuotaRejection> {
    if usage.total_tokens() == 0 {
        invalid("usage", "must have at least one token")
    } else if usage.cached_tokens > usage.prompt_tokens {
        invalid("cached_tokens", "must not be more than prompt_tokens")
    } else if usage.reasoning_tokens > usage.completion_tokens {
        invalid("reasoning_tokens", "must not be more than completion_tokens")
    } else {
        Ok(())
    }
}
