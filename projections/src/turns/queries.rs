//! Reading turns: for clients, and for the sweeper.

use chrono::{DateTime, Utc};
use domain::{Actor, SessionId, TurnId};
use eventstore::{Position, StoreError};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::messages::MessageRow;
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
    pool: &PgPool,
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
    pool: &PgPool,
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

/// How many turns of all tenants have not ended.
pub async fn unfinished_turns(pool: &PgPool) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT count(*) FROM turns WHERE ended_at IS NULL")
        .fetch_one(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("count unfinished turns", error))
}

/// Up to `limit` turns of all tenants that no worker has taken though they were accepted, or
/// given back by the last one, before `older_than`; the oldest first.
pub async fn queued_turns(
    pool: &PgPool,
    older_than: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<TurnRow>, StoreError> {
    // The first condition on a time lets the index be used.
    let query = "SELECT row_to_json(t) FROM turns t
         WHERE t.ended_at IS NULL AND t.status = 'queued' AND t.requested_at < $1
           AND t.queued_at < $1
         ORDER BY t.requested_at LIMIT $2";
    unfinished(pool, query, older_than, limit).await
}

async fn unfinished(
    pool: &PgPool,
    query: &str,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<TurnRow>, StoreError> {
    let rows: Vec<Json<TurnRow>> = sqlx::query_scalar(query)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("list unfinished turns", error))?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
