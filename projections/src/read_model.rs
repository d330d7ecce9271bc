//! The read models by name.

use std::fmt;
use std::str::FromStr;

/// A read model: a table with a checkpoint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadModel {
    /// Sessions, as lists show them.
    Sessions,
    /// The history: all messages.
    Messages,
    /// Turns and how they went.
    Turns,
    /// Users' accounts as they stand.
    Accounts,
    /// The ledger: every line of every account.
    Transactions,
    /// What was used on each day.
    UsageDaily,
}

impl ReadModel {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Sessions,
        Self::Messages,
        Self::Turns,
        Self::Accounts,
        Self::Transactions,
        Self::UsageDaily,
    ];

    /// Its name: that of its table and of its checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Messages => "messages",
            Self::Turns => "turns",
            Self::Accounts => "accounts",
            Self::Transactions => "transactions",
            Self::UsageDaily => "usage_daily",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ReadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no read model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no projection called `{0}`; there are sessions, messages, turns, accounts, \
     transactions and usage_daily"
)]
pub struct UnknownReadModel(String);

impl FromStr for ReadModel {
    type Err = UnknownReadModel;

    fn from_str(name: &str) -> Result<Self, UnknownReadModel> {
        Self::ALL
            .into_iter()
            .find(|model| model.name() == name)
            .ok_or_else(|| UnknownReadModel(name.to_owned()))
    }
}
