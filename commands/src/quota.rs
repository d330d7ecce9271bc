//! Carrying an account's commands out.

use std::sync::Arc;

use domain::quota::{Account, QuotaCommand};
use domain::{AccountId, TenantId, UserId};
use eventstore::Position;
use serde::{Deserialize, Serialize};

use crate::bus::CommandBus;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::lane::{Order, Outcome};
use crate::reply::Billed;

/// A command to an account that was carried out, now or before.
#[derive(Debug, Clone)]
pub struct AccountExecuted {
    /// The account.
    pub account_id: AccountId,
    /// The position of its last event; none if there was nothing to change.
    pub position: Option<Position>,
    /// What it did; none for a repeat.
    pub billed: Option<Billed>,
    /// Whether it had been carried out before.
    pub repeated: bool,
}

/// What is stored of a command for repeats.
#[derive(Debug, Serialize, Deserialize)]
struct AccountReply {
    account_id: AccountId,
}

impl CommandBus {
    /// Decides `commands` on the account of `owner`, in order, and appends what follows from
    /// them: all or nothing.
    pub async fn execute_quota(
        &self,
        owner: &(TenantId, UserId),
        commands: Vec<QuotaCommand>,
        caller: &Caller,
    ) -> Result<AccountExecuted, CommandError> {
        let account_id = AccountId::of(&owner.0, &owner.1);
        let record =
            caller.record(account_id.0.as_bytes(), &commands, &AccountReply { account_id })?;
        let name = commands.first().map_or("", QuotaCommand::name);
        let order = Order {
            tenant_id: owner.0.clone(),
            context: self.quota_context(owner, caller),
            metadata: caller.metadata(name),
            session: None,
            record: record.clone(),
            commands,
        };
        match self.lanes.submit(account_id, order).await {
            // Nothing to change: perhaps because its first time has changed it.
            Ok(Outcome::Appended { last: None, billed }) => {
                let first = self.first_time(caller, record.as_ref()).await?;
                let (repeated, position) = (first.is_some(), first.map(|first| first.1));
                let billed = billed.filter(|_| !repeated);
                Ok(AccountExecuted { account_id, position, billed, repeated })
            }
            Ok(Outcome::Appended { last, billed }) => {
                Ok(AccountExecuted { account_id, position: last, billed, repeated: false })
            }
            Ok(Outcome::Repeated { last, .. }) => Ok(AccountExecuted {
                account_id,
                position: Some(last),
                billed: None,
                repeated: true,
            }),
            // It has no session; the append names only the account.
            Ok(Outcome::SessionMoved) => Err(CommandError::Contended),
            Err(refused @ CommandError::Quota { .. }) => {
                match self.first_time(caller, record.as_ref()).await? {
                    Some((_, last)) => {
                        let position = Some(last);
                        Ok(AccountExecuted { account_id, position, billed: None, repeated: true })
                    }
                    None => Err(refused),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The account of `owner` as the log has it now.
    pub async fn account(&self, owner: &(TenantId, UserId)) -> Result<Arc<Account>, CommandError> {
        Ok(self.lanes.load(AccountId::of(&owner.0, &owner.1)).await?)
    }
}
