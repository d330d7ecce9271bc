//! Carrying out commands to accounts.

use ::commands::{Caller, CommandError};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::quota::{ConsumeQuota, QuotaCommand, QuotaRejection};
use domain::session::Rejection;
use domain::{AccountId, ActorRole, CommandId, TenantId, UserId};
use eventstore::Position;
use serde::Serialize;
use uuid::Uuid;

use super::account::UserAccount;
use super::amounts::Fields;
use super::command;
use super::headers::About;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::position;
use crate::state::ApiState;

/// The command that users give.
const CONSUME: &str = "ConsumeQuota";

/// The longest name of a service, where a user names it.
const MAX_SERVICE: usize = 64;

/// The answer to a command to an account.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    /// The ledger's entry that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_id: Option<Uuid>,
    /// The account after it.
    account: UserAccount,
    /// Null when there was nothing to change.
    position: Option<Position>,
    /// Whether it had been carried out before.
    repeated: bool,
    /// Whether the account was used, not administered.
    #[serde(skip)]
    is_use: bool,
}

impl Changed {
    pub(crate) fn respond(&self, status: StatusCode) -> Response {
        let mut response = (status, Json(self)).into_response();
        position::set(&mut response, self.position);
        if self.is_use {
            response.extensions_mut().insert(About(Box::new(self.account.view.clone())));
        }
        response
    }
}

/// Carries the command called `name` out on the account of `user_id`, by default the caller's
/// own, whether or not the client stays to hear of it.
pub(crate) async fn execute(
    state: &ApiState,
    authenticated: &Authenticated,
    user_id: Option<UserId>,
    (name, fields): (&str, Fields),
    command_id: Option<CommandId>,
) -> Result<Changed, ApiError> {
    let owner = owner_of(authenticated, user_id, name)?;
    let caller = authenticated.caller(command_id);
    let command = command::read(name, fields, entry_id(state, &owner, &caller))?;
    if let QuotaCommand::ConsumeQuota(consume) = &command
        && authenticated.actor.role != ActorRole::Admin
    {
        check_names(state, consume).await?;
    }
    let (entry_id, is_use) = (command::entry_id(&command), name == CONSUME);
    let bus = state.bus.clone();
    let work = tokio::spawn(async move {
        let executed = bus.execute_quota(&owner, vec![command], &caller).await?;
        let view = match executed.billed {
            Some(billed) => *billed.account,
            // Of a repeat, what has become of it.
            None => bus.account(&owner).await?.view(bus.clock().now()),
        };
        let account = UserAccount { user_id: owner.1, view };
        let (position, repeated) = (executed.position, executed.repeated);
        Ok::<_, CommandError>(Changed { entry_id, account, position, repeated, is_use })
    });
    Ok(work.await.map_err(|error| ApiError::internal(&error))??)
}

/// Users use their own account and do nothing else to any.
fn owner_of(
    authenticated: &Authenticated,
    user_id: Option<UserId>,
    name: &str,
) -> Result<(TenantId, UserId), ApiError> {
    let actor = &authenticated.actor;
    let user_id = user_id.unwrap_or_else(|| actor.user_id.clone());
    let may = actor.role == ActorRole::Admin || (name == CONSUME && user_id == actor.user_id);
    if may { Ok((actor.tenant_id.clone(), user_id)) } else { Err(QuotaRejection::AdminOnly.into()) }
}

/// Reports are kept by model and service: users don't fill them with names that they make up.
async fn check_names(state: &ApiState, consume: &ConsumeQuota) -> Result<(), ApiError> {
    if !is_service(&consume.service) {
        let problem = "must be 1 to 64 of A-Z a-z 0-9 _ . -";
        return Err(QuotaRejection::Invalid { field: "service", problem }.into());
    }
    let (catalog, model) = (state.bus.catalog(), &consume.model);
    // Another node may have just added it: the log has the last word.
    let is_known = catalog.current().catalog.model(model).is_some()
        || catalog.catch_up().await?.catalog.model(model).is_some();
    if is_known { Ok(()) } else { Err(Rejection::UnknownModel(model.clone()).into()) }
}

fn is_service(name: &str) -> bool {
    (1..=MAX_SERVICE).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The id of the ledger's entry: of a command that may come again, always the same one.
fn entry_id(state: &ApiState, (tenant_id, user_id): &(TenantId, UserId), caller: &Caller) -> Uuid {
    let Some(command_id) = &caller.command_id else { return state.bus.ids().next() };
    // A command's id is its caller's own. No user's id holds a line break.
    let name = format!("{}\n{command_id}", caller.actor.user_id);
    Uuid::new_v5(&AccountId::of(tenant_id, user_id).0, name.as_bytes())
}
