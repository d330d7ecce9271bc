//! A turn as the read models have it, whole.
//!
//! Turn, answer and owner stand in three read models, each of which may be a moment behind:
//! what is missing is waited for once, and only then counts as not there.

use domain::session::TurnStatus;
use domain::{Actor, TurnId};
use projections::{TurnDetail, TurnRow};

use crate::error::ApiError;
use crate::position;
use crate::state::ApiState;

/// The turn, though it may have been requested or ended a moment ago on another node. One that
/// has ended has its answer, unless its session's history was cleared.
pub(crate) async fn read(
    state: &ApiState,
    actor: &Actor,
    turn_id: TurnId,
) -> Result<TurnDetail, ApiError> {
    let read = || projections::get_turn(state.pool(), actor, turn_id);
    let detail = match read().await? {
        Some(detail) => detail,
        None => {
            position::wait_for_head(state).await?;
            read().await?.ok_or_else(ApiError::turn_not_found)?
        }
    };
    if detail.answer.is_some() || !left_an_answer(&detail.turn) {
        return Ok(detail);
    }
    position::wait(state, Some(detail.turn.last_position)).await?;
    read().await?.ok_or_else(ApiError::turn_not_found)
}

/// Whether the turn has ended with an answer, whole or in part.
fn left_an_answer(turn: &TurnRow) -> bool {
    let said_something = || turn.cuts.as_ref().is_some_and(|cuts| !cuts.is_empty());
    match turn.status {
        TurnStatus::Completed => true,
        TurnStatus::Cancelled => said_something(),
        TurnStatus::Queued | TurnStatus::Running | TurnStatus::Failed => false,
    }
}
