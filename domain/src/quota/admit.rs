//! Whether an account has room for what is asked of it.

use chrono::{DateTime, Utc};

use crate::quota::amount::{Amount, Quantity};
use crate::quota::limits::LimitKind;
use crate::quota::meters::{Meters, in_unit, minute_full_until, quantity, requests_within_minute};
use crate::quota::rejection::QuotaRejection;
use crate::quota::state::Account;

/// Whether there is room for `amount`, and for one more `request`. Of several full limits, the
/// one that renews last is named: before that, asking again is in vain.
pub(super) fn admit(
    account: &Account,
    amount: Amount,
    request: bool,
    at: DateTime<Utc>,
) -> Result<(), QuotaRejection> {
    if let Some(reason) = &account.suspended {
        return Err(QuotaRejection::Suspended(reason.clone()));
    }
    let meters = Meters::of(account, at);
    let full = LimitKind::ALL.iter().filter_map(|kind| {
        let gauge = meters.gauge(*kind)?;
        let needed = in_unit(*kind, amount);
        (needed.is_positive() && gauge.free() < needed).then(|| QuotaRejection::Exceeded {
            limit: *kind,
            needed: quantity(*kind, needed),
            left: quantity(*kind, gauge.free().or_zero()),
            of: quantity(*kind, gauge.of.or_zero()),
            // What is more than the whole limit finds no room in any window.
            renews_at: meters.renews_at(*kind).filter(|_| needed <= gauge.of),
        })
    });
    let minute = request.then(|| too_many_requests(account, at)).flatten();
    match minute.into_iter().chain(full).max_by_key(renewal) {
        Some(rejection) => Err(rejection),
        None => Ok(()),
    }
}

/// Orders refusals by when they pass; what never passes comes last.
fn renewal(rejection: &QuotaRejection) -> DateTime<Utc> {
    match rejection {
        QuotaRejection::Exceeded { renews_at: Some(at), .. } => *at,
        _ => DateTime::<Utc>::MAX_UTC,
    }
}

fn too_many_requests(account: &Account, at: DateTime<Utc>) -> Option<QuotaRejection> {
    let until = minute_full_until(account, at)?;
    let limit = u64::from(account.limits().requests_per_minute);
    let used = requests_within_minute(account, at) as u64;
    Some(QuotaRejection::Exceeded {
        limit: LimitKind::RequestsPerMinute,
        needed: Quantity::Count(1),
        left: Quantity::Count(limit.saturating_sub(used)),
        of: Quantity::Count(limit),
        renews_at: Some(until),
    })
}
