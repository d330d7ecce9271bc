//! What a batch of orders comes to: each decided on the account as the one before it leaves
//! it. Pure.

use std::collections::HashSet;

use domain::quota::{self, Account, AccountView, QuotaEvent, QuotaRejection};

use super::Order;

/// Bytes of session events in one append: more may take too long for one statement.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What is to be done about an order.
#[derive(Debug)]
pub(super) enum Step {
    /// Append these events, and the session's.
    Append {
        /// The account's events.
        events: Vec<QuotaEvent>,
        /// The account after them.
        account: Box<AccountView>,
    },
    /// Refuse it.
    Refuse {
        /// Why.
        rejection: QuotaRejection,
        /// The account that refuses.
        account: Box<AccountView>,
    },
    /// It doesn't fit into the same append: the next one.
    Wait,
}

impl Step {
    /// Whether the outcome depends on the account without an append that checks its version.
    pub(super) fn is_unchecked(&self) -> bool {
        match self {
            Self::Append { events, .. } => events.is_empty(),
            Self::Refuse { .. } => true,
            Self::Wait => false,
        }
    }
}

/// Decides `orders` in turn and leaves in `account` what they make of it.
pub(super) fn plan<'a>(
    account: &mut Account,
    orders: impl Iterator<Item = &'a Order>,
) -> Vec<Step> {
    let (mut sessions, mut records) = (HashSet::new(), HashSet::new());
    let mut bytes = 0;
    let step = |order: &'a Order| {
        let size = size_of(order);
        let session = order.session.as_ref().map(|session| session.aggregate_id.as_str());
        let record = order.record.as_ref().map(|record| (&record.user_id, &record.command_id));
        let taken = session.is_some_and(|session| sessions.contains(session))
            || record.is_some_and(|record| records.contains(&record));
        if taken || bytes > 0 && bytes + size > MAX_BYTES {
            return Step::Wait;
        }
        let decided = decide(account, order);
        let view = Box::new(account.view(order.context.now));
        match decided {
            Ok(events) => {
                bytes += size;
                sessions.extend(session);
                records.extend(record);
                Step::Append { events, account: view }
            }
            Err(rejection) => Step::Refuse { rejection, account: view },
        }
    };
    orders.map(step).collect()
}

fn size_of(order: &Order) -> usize {
    let events = order.session.iter().flat_map(|session| &session.events);
    events.map(|event| event.payload.len() + event.metadata.len()).sum()
}

/// The events of all the order's commands, folded into `account`; when one is refused, the
/// account stays as it was.
fn decide(account: &mut Account, order: &Order) -> Result<Vec<QuotaEvent>, QuotaRejection> {
    let before = (order.commands.len() > 1).then(|| account.clone());
    let mut all = Vec::new();
    for command in &order.commands {
        match quota::decide(account, command, &order.context) {
            Ok(events) => {
                for event in &events {
                    account.apply(event);
                }
                all.extend(events);
            }
            Err(rejection) => {
                if let Some(before) = before {
                    *account = before;
                }
                return Err(rejection);
            }
        }
    }
    Ok(all)
}

/// The ordinals of the first and the last event of each step in their append, where the
/// account's events stand first and the sessions' after them; none for a step without events.
pub(super) fn ordinals<'a>(
    steps: &[Step],
    orders: impl Iterator<Item = &'a Order>,
) -> Vec<Option<(usize, usize)>> {
    let billed = |step: &Step| match step {
        Step::Append { events, .. } => events.len(),
        Step::Refuse { .. } | Step::Wait => 0,
    };
    let (mut account, mut session) = (0, steps.iter().map(billed).sum::<usize>());
    let place = |(step, order): (&Step, &Order)| {
        if !matches!(step, Step::Append { .. }) {
            return None;
        }
        let (on_account, on_session) = (account, session);
        account += billed(step);
        session += order.session.as_ref().map_or(0, |session| session.events.len());
        let first = if account > on_account { on_account } else { on_session };
        let last = if session > on_session { session } else { account };
        (account > on_account || session > on_session).then(|| (first, last - 1))
    };
    steps.iter().zip(orders).map(place).collect()
}
