//! Users' accounts as they stand: the folded aggregate itself, and what lists are made by.

mod queries;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::quota::{Account, QUOTA, QuotaEvent};
use domain::{AccountId, TenantId, UserId};
use eventstore::Position;

pub use queries::{
    AccountCursor, OpenHold, expired_holds, get_account, list_accounts, orphaned_holds,
};

use crate::projection::{AccountFact, Fact, FoldError, Projection, Touched, row, storable};
use crate::read_model::ReadModel;
use crate::rows::Rows;

row! {
    /// An account.
    pub struct AccountRow keyed by account_id.0 {
        /// Its id.
        pub account_id: AccountId,
        /// Whose it is.
        pub tenant_id: TenantId,
        /// Whose it is.
        pub user_id: UserId,
        /// Its tier.
        pub tier: String,
        /// Whether an admin has closed it for now.
        pub suspended: bool,
        /// The account, as its events leave it.
        pub state: Account,
        /// When the first of the holds that count ends by itself.
        pub next_expiry: Option<DateTime<Utc>>,
        /// When it was opened.
        pub opened_at: DateTime<Utc>,
        /// When it last changed.
        pub updated_at: DateTime<Utc>,
        /// The event that last changed it.
        pub last_position: Position,
    }
}

impl AccountRow {
    fn take(&mut self, fact: &AccountFact<'_>) {
        self.state.apply(fact.event);
        // The one free text of the state.
        if let Some(reason) = &mut self.state.suspended {
            *reason = storable(reason);
        }
        self.tier = storable(&self.state.tier);
        self.suspended = self.state.suspended.is_some();
        let holds = self.state.holds.values().filter(|hold| !hold.expired);
        self.next_expiry = holds.map(|hold| hold.expires_at).min();
        self.updated_at = self.state.updated_at.unwrap_or(self.updated_at);
        self.last_position = fact.position;
    }
}

/// The projection `accounts`.
pub(crate) struct Accounts;

impl Projection for Accounts {
    const MODEL: ReadModel = ReadModel::Accounts;
    const STREAMS: &'static [&'static str] = &[QUOTA];
    type Row = AccountRow;

    fn touch(fact: &Fact<'_>, touched: &mut Touched) {
        let Fact::Account(fact) = fact else { return };
        match fact.event {
            QuotaEvent::AccountOpened { .. } => touched.makes(fact.account_id.0),
            _ => touched.changes(fact.account_id.0),
        }
    }

    fn apply(rows: &mut Rows<AccountRow>, fact: &Fact<'_>) -> Result<(), FoldError> {
        let Fact::Account(fact) = fact else { return Ok(()) };
        if let Some(row) = opened(fact) {
            rows.insert(row);
        }
        rows.change(fact.account_id.0)?.take(fact);
        Ok(())
    }
}

fn opened(fact: &AccountFact<'_>) -> Option<AccountRow> {
    let QuotaEvent::AccountOpened { tenant_id, user_id, at, .. } = fact.event else { return None };
    Some(AccountRow {
        account_id: fact.account_id,
        tenant_id: tenant_id.clone(),
        user_id: user_id.clone(),
        tier: String::new(),
        suspended: false,
        state: Account::default(),
        next_expiry: None,
        opened_at: *at,
        updated_at: *at,
        last_position: fact.position,
    })
}
