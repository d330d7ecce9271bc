//! Reading turns: for clients, and for the relay, which hands them out.

use domain::{Actor, SessionId, TenantId, TurnId, WorkerId};
use eventstore::{Database, Position, StoreError};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::messages::MessageRow;
use crate::read_model::ReadModel;
use crate::scope::Scope;
use crate::turns::TurnRow;

/// A turn and its answer.
#[derive(Debug, Clone)]
pub struct TurnDetail {
    /// The turn.
    pub turn: TurnRow,
    /// The answer, whole or as far as it came; none before the end, of a failed turn, or in
    /// a cleared history.
    pub answer: Option<MessageRow>,
}

/// The turn, if `actor` may see its session.
///
/// Owner, turn and answer stand in three read models: wait for a position in all of them. A
/// turn that has ended while its answer is still on the way shows none; wait for the turn's
/// `last_position` to be sure.
pub async fn get_turn(
    pool: &Database,
    actor: &Actor,
    turn_id: TurnId,
) -> Result<Option<TurnDetail>, StoreError> {
    let scope = Scope::of(actor);
    let row: Option<(Json<TurnRow>, Option<Json<MessageRow>>)> = sqlx::query_as(
        "SELECT row_to_json(t), CASE WHEN m.message_id IS NOT NULL THEN row_to_json(m) END
         FROM turns t
         JOIN sessions s ON s.session_id = t.session_id
         LEFT JOIN messages m ON m.message_id = t.answer_id
         WHERE t.turn_id = $1 AND s.tenant_id = $2 AND ($3::text IS NULL OR s.user_id = $3)",
    )
    .bind(turn_id.0)
    .bind(scope.tenant)
    .bind(scope.user)
    .fetch_optional(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("read a turn", error))?;
    Ok(row.map(|(turn, answer)| TurnDetail { turn: turn.0, answer: answer.map(|answer| answer.0) }))
}

/// The first turn of a session that was requested after `position`; none where `actor` may not
/// see the session.
pub async fn next_turn(
    pool: &Database,
    actor: &Actor,
    session_id: SessionId,
    position: Position,
) -> Result<Option<TurnRow>, StoreError> {
    let scope = Scope::of(actor);
    let row: Option<Json<TurnRow>> = sqlx::query_scalar(
        "SELECT row_to_json(t)
         FROM turns t JOIN sessions s ON s.session_id = t.session_id
         WHERE t.session_id = $1 AND s.tenant_id = $2 AND ($3::text IS NULL OR s.user_id = $3)
           AND t.requested_position > $4
         ORDER BY t.requested_position LIMIT 1",
    )
    .bind(session_id.0)
    .bind(scope.tenant)
    .bind(scope.user)
    .bind(position)
    .fetch_optional(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("look for a turn", error))?;
    Ok(row.map(|row| row.0))
}

/// A turn that has not ended, as far as whoever hands it out needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UnfinishedTurn {
    /// Its id.
    pub turn_id: TurnId,
    /// Its session.
    pub session_id: SessionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The queue of workers that serve it.
    pub pool: String,
    /// Attempts started so far.
    pub attempt: u32,
    /// Who is at it; none while it waits for a worker.
    pub worker_id: Option<WorkerId>,
}

/// Up to `limit` turns that have not ended, and the position that they are told as of: first those
/// that run, then the oldest of each tenant.
pub async fn unfinished_turns(
    pool: &Database,
    limit: u32,
) -> Result<(Position, Vec<UnfinishedTurn>), StoreError> {
    // One statement has one snapshot: the checkpoint is that of these rows.
    let (position, turns): (Position, Json<Vec<UnfinishedTurn>>) = sqlx::query_as(
        "SELECT c.position, coalesce((SELECT json_agg(t) FROM (
             SELECT turn_id, session_id, tenant_id, pool, attempt,
                    CASE WHEN status = 'running' THEN worker_id END AS worker_id
             FROM turns WHERE ended_at IS NULL
             ORDER BY status = 'queued',
                      row_number() OVER (PARTITION BY tenant_id, status
                                         ORDER BY requested_at, turn_id),
                      turn_id
             LIMIT $2
         ) t), '[]')
         FROM checkpoints c WHERE c.name = $1",
    )
    .bind(ReadModel::Turns.name())
    .bind(i64::from(limit))
    .fetch_one(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("list unfinished turns", error))?;
    Ok((position, turns.0))
}

/// How many turns of each tenant wait for a worker, and the position that they are told as of.
pub async fn waiting_turns(
    pool: &Database,
) -> Result<(Position, Vec<(TenantId, u64)>), StoreError> {
    // One statement has one snapshot: the checkpoint is that of these rows.
    let (position, counted): (Position, Json<Vec<(TenantId, u64)>>) = sqlx::query_as(
        "SELECT c.position, coalesce((
             SELECT json_agg(json_build_array(tenant_id, waiting)) FROM (
                 SELECT tenant_id, count(*) AS waiting FROM turns
                 WHERE ended_at IS NULL AND status = 'queued' GROUP BY tenant_id
             ) t), '[]')
         FROM checkpoints c WHERE c.name = $1",
    )
    .bind(ReadModel::Turns.name())
    .fetch_one(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("count waiting turns", error))?;
    Ok((position, counted.0))
}

/// Those of `turns` that have ended.
pub async fn ended_turns(pool: &Database, turns: &[TurnId]) -> Result<Vec<TurnId>, StoreError> {
    let turns: Vec<Uuid> = turns.iter().map(|turn| turn.0).collect();
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "SELECT turn_id FROM turns WHERE turn_id = ANY($1) AND ended_at IS NOT NULL",
    )
    .bind(turns)
    .fetch_all(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("look for ended turns", error))?;
    Ok(ended.into_iter().map(TurnId).collect())
}
