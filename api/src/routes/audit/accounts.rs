//! `GET /v1/audit/accounts/{user_id}`: what happened to an account, who did it, and what it
//! comes to.

use ::commands::{Replay, replay_account};
use axum::Json;
use axum::extract::State;
use domain::quota::{Account, QuotaRejection};
use domain::{AccountId, UserId};
use eventstore::Position;
use serde::Serialize;

use super::AuditQuery;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{Params, PathUser};
use crate::state::ApiState;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct AccountAudit {
    user_id: UserId,
    account_id: AccountId,
    as_of: Option<Position>,
    #[serde(flatten)]
    replay: Replay<Account>,
}

pub(crate) async fn account(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathUser(user_id): PathUser,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AccountAudit>, ApiError> {
    let range = query.range()?;
    let tenant_id = &caller.actor.tenant_id;
    if !caller.actor.may_see(tenant_id, &user_id) {
        return Err(QuotaRejection::AccountNotFound.into());
    }
    let account_id = AccountId::of(tenant_id, &user_id);
    let replay = replay_account(&state.store, account_id, range).await?;
    if replay.version == 0 {
        return Err(QuotaRejection::AccountNotFound.into());
    }
    Ok(Json(AccountAudit { user_id, account_id, as_of: query.as_of, replay }))
}
