//! An account's books, kept by hand from its events: what was held and used when, whether there
//! was room each time, and whether the ledger's sum is the balance. None of it trusts the fold;
//! at the end both must say the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use domain::ReservationId;
use domain::quota::{Account, Amount, Limits, Posting, QuotaEvent, Sum};

#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The plain fold.
    pub(crate) account: Account,
    /// The sum of all postings.
    pub(crate) balance: Sum,
    /// What holds that count come to, each.
    held: BTreeMap<ReservationId, Amount>,
    /// The sum of these.
    held_in_all: Amount,
    expired: BTreeMap<ReservationId, Amount>,
    pub(crate) days: BTreeMap<NaiveDate, Amount>,
    pub(crate) months: BTreeMap<NaiveDate, Amount>,
    requests: Vec<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
}

impl Books {
    /// Keeps them; fails where an event should not have happened.
    pub(crate) fn of(events: &[QuotaEvent]) -> Self {
        let mut books = Self::default();
        for event in events {
            assert!(Some(event.at()) >= books.last, "{} goes back in time", event.name());
            books.last = Some(event.at());
            books.enter(event);
            books.account.apply(event);
            let posted = event.posting().map(|posting| posting.balance);
            assert_eq!(posted.unwrap_or(books.balance), books.balance, "{}", event.name());
        }
        books.compare();
        books
    }

    pub(crate) fn held_in_all(&self) -> Amount {
        self.held_in_all
    }

    pub(crate) fn used_in_all(&self) -> Amount {
        total(&self.days)
    }

    fn enter(&mut self, event: &QuotaEvent) {
        if let Some(Posting { change, .. }) = event.posting() {
            self.balance = self.balance.plus(*change);
        }
        match event {
            QuotaEvent::QuotaReserved { reservation_id, amount, extends, at, .. } => {
                let again = self.expired.remove(reservation_id).unwrap_or_default();
                self.assert_room(amount.plus(again), !extends, *at);
                let hold = self.held.entry(*reservation_id).or_default();
                assert_eq!(*extends, *hold != Amount::default() || again != Amount::default());
                *hold = hold.plus(again).plus(*amount);
                self.held_in_all = self.held_in_all.plus(again).plus(*amount);
            }
            QuotaEvent::QuotaConsumed { reservation_id, amount, posting, at, .. } => {
                match reservation_id {
                    Some(id) => assert!(self.end(*id).is_some(), "{id} settled twice"),
                    None => self.assert_room(*amount, true, *at),
                }
                assert_eq!(posting.change, Sum::from(*amount).negated());
                add(&mut self.days, at.date_naive(), *amount);
                add(&mut self.months, at.date_naive().with_day(1).unwrap(), *amount);
            }
            QuotaEvent::ReservationReleased { reservation_id, .. } => {
                assert!(self.end(*reservation_id).is_some(), "released what is not held");
            }
            QuotaEvent::ReservationExpired { reservation_id, .. } => {
                let hold = self.held.remove(reservation_id).unwrap();
                self.held_in_all = self.held_in_all.less(hold);
                self.expired.insert(*reservation_id, hold);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: ReservationId) -> Option<Amount> {
        let held = self.held.remove(&id);
        self.held_in_all = self.held_in_all.less(held.unwrap_or_default());
        held.or_else(|| self.expired.remove(&id))
    }

    /// Whether there is room for `amount` under the limits of this moment.
    fn assert_room(&mut self, amount: Amount, request: bool, at: DateTime<Utc>) {
        let limits = self.account.limits();
        let wanted = self.held_in_all().plus(amount);
        let used_since = |windows: &BTreeMap<NaiveDate, Amount>, start: NaiveDate| {
            windows.get(&start).copied().unwrap_or_default().plus(wanted)
        };
        let day = used_since(&self.days, at.date_naive());
        let month = used_since(&self.months, at.date_naive().with_day(1).unwrap());
        let left = self.balance.minus(wanted.into());
        let Limits { tokens_per_day, tokens_per_month, .. } = limits;
        assert!(tokens_per_day == 0 || day.tokens <= tokens_per_day, "{day:?} at {at}");
        assert!(tokens_per_month == 0 || month.tokens <= tokens_per_month, "{month:?} at {at}");
        let within =
            |limit: domain::Credits, used: Amount| limit.is_zero() || used.credits <= limit;
        assert!(within(limits.credits_per_day, day), "{day:?} at {at}");
        assert!(within(limits.credits_per_month, month), "{month:?} at {at}");
        assert!(limits.tokens_total == 0 || left.tokens >= 0, "{left:?} at {at}");
        assert!(limits.credit_balance.is_zero() || !left.credits.is_negative(), "{left:?}");
        if request {
            self.requests.push(at);
            let recent = |then: &&DateTime<Utc>| at - **then < TimeDelta::seconds(60);
            let recent = self.requests.iter().rev().take_while(recent).count();
            let most = usize::try_from(limits.requests_per_minute).unwrap();
            assert!(most == 0 || recent <= most, "{recent} requests in the minute before {at}");
        }
    }

    /// The fold must have come to the same.
    fn compare(&self) {
        let Account { day, month, balance, held, .. } = &self.account;
        assert_eq!(*balance, self.balance);
        assert_eq!(*held, total(&self.held));
        let of = |windows: &BTreeMap<NaiveDate, Amount>, start: Option<NaiveDate>| {
            start.and_then(|start| windows.get(&start).copied()).unwrap_or_default()
        };
        assert_eq!(day.used, of(&self.days, day.start));
        assert_eq!(month.used, of(&self.months, month.start));
        assert_eq!(self.account.used, self.used_in_all());
    }
}

fn total<K>(amounts: &BTreeMap<K, Amount>) -> Amount {
    amounts.values().fold(Amount::default(), |sum, amount| sum.plus(*amount))
}

fn add(windows: &mut BTreeMap<NaiveDate, Amount>, start: NaiveDate, amount: Amount) {
    let used = windows.entry(start).or_default();
    *used = used.plus(amount);
}
