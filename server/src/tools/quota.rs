//! `colloquy quota`: looks at accounts, and changes them as the API does: by commands to the
//! event log, each with its actor.

mod act;
mod error;
mod reprice;
mod show;

use std::sync::Arc;

use commands::{Caller, CatalogHandle, CommandBus};
use domain::{Actor, ActorRole, CommandId, SystemClock, SystemIds, TenantId, UserId};
use eventstore::EventStore;

use crate::app;
use crate::cli::quota::Quota;
use crate::config::Config;
use crate::error::ServerError;

pub(crate) use error::QuotaError;

/// Whose account.
type Owner = (TenantId, UserId);

/// What the commands of this tool work with.
struct Tool {
    store: EventStore,
    bus: CommandBus,
}

pub(crate) async fn run(config: &Config, command: Quota) -> Result<(), ServerError> {
    let tool = Tool::new(config).await?;
    let result = tool.carry_out(command).await;
    tool.store.close().await;
    result
}

impl Tool {
    async fn new(config: &Config) -> Result<Self, ServerError> {
        let pool = app::tool_pool(config).await?;
        app::check_schema(&pool).await?;
        let store = EventStore::new(pool);
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let catalog = CatalogHandle::load(store.clone(), clock.clone(), ids.clone()).await?;
        let policy = config.quota_policy().map_err(ServerError::Id)?;
        let bus = CommandBus::new(store.clone(), clock, ids, catalog, policy);
        Ok(Self { store, bus })
    }

    async fn carry_out(&self, command: Quota) -> Result<(), ServerError> {
        match command {
            Quota::Show { account, json } => {
                Ok(show::account(self, (account.tenant, account.user), json).await?)
            }
            Quota::Accounts { tenant, json } => Ok(show::accounts(self, &tenant, json).await?),
            Quota::Transactions(args) => Ok(show::transactions(self, args).await?),
            Quota::Reprice(args) => Ok(reprice::run(self, args).await?),
            command => Ok(act::run(self, command).await?),
        }
    }
}

/// An admin at the command line. Whoever that is, a command's id is the command line's: its
/// user id is one that no token can have, so no user's commands are mistaken for these.
fn caller(tenant_id: TenantId, by: UserId, command_id: Option<CommandId>) -> Caller {
    Caller {
        actor: Actor { tenant_id, user_id: by, role: ActorRole::Admin },
        named_tier: None,
        command_id,
        remembered_as: Some(UserId::system()),
        correlation_id: "cli".to_owned(),
    }
}
