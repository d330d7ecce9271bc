//! Reading sessions. What an actor may not see is not there.

use chrono::{DateTime, Utc};
use domain::session::SessionStatus;
use domain::{Actor, SessionId, UserId};
use eventstore::{Database, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder};

use crate::scope::{Page, Scope};
use crate::sessions::SessionRow;

/// A place in the list of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCursor {
    /// When the session there last changed.
    pub updated_at: DateTime<Utc>,
    /// The session there.
    pub session_id: SessionId,
}

/// Which sessions to list; what is unset is no condition.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Archived ones, or those that aren't.
    pub archived: Option<bool>,
    /// With this label.
    pub tag: Option<String>,
    /// Of this user. (A user sees no others anyhow.)
    pub user_id: Option<UserId>,
}

/// The session, if `actor` may see it.
pub async fn get_session(
    pool: &Database,
    actor: &Actor,
    session_id: SessionId,
) -> Result<Option<SessionRow>, StoreError> {
    let scope = Scope::of(actor);
    let row: Option<Json<SessionRow>> = sqlx::query_scalar(
        "SELECT row_to_json(s) FROM sessions s
         WHERE s.session_id = $1 AND s.tenant_id = $2 AND ($3::text IS NULL OR s.user_id = $3)",
    )
    .bind(session_id.0)
    .bind(scope.tenant)
    .bind(scope.user)
    .fetch_optional(pool)
    .await
    .map_err(|error| StoreError::from_sqlx("read a session", error))?;
    Ok(row.map(|row| row.0))
}

/// Up to `limit` sessions that `actor` may see, the last changed first. Ephemeral ones are
/// never among them.
pub async fn list_sessions(
    pool: &Database,
    actor: &Actor,
    filter: &SessionFilter,
    after: Option<SessionCursor>,
    limit: u32,
) -> Result<Page<SessionRow, SessionCursor>, StoreError> {
    let mut query = select(Scope::of(actor), filter, after);
    query.push(" ORDER BY s.updated_at DESC, s.session_id DESC LIMIT ");
    query.push_bind(i64::from(limit) + 1);
    let rows: Vec<Json<SessionRow>> = query
        .build_query_scalar()
        .fetch_all(pool)
        .await
        .map_err(|error| StoreError::from_sqlx("list sessions", error))?;
    let rows = rows.into_iter().map(|row| row.0).collect();
    Ok(Page::cut(rows, limit, |row: &SessionRow| SessionCursor {
        updated_at: row.updated_at,
        session_id: row.session_id,
    }))
}

fn select<'a>(
    scope: Scope<'a>,
    filter: &'a SessionFilter,
    after: Option<SessionCursor>,
) -> QueryBuilder<'a, Postgres> {
    let mut query = QueryBuilder::new(
        "SELECT row_to_json(s) FROM sessions s WHERE NOT s.ephemeral AND s.tenant_id = ",
    );
    query.push_bind(scope.tenant);
    for user in scope.user.into_iter().chain(filter.user_id.as_ref().map(UserId::as_str)) {
        query.push(" AND s.user_id = ").push_bind(user);
    }
    if let Some(archived) = filter.archived {
        let status = if archived { SessionStatus::Archived } else { SessionStatus::Active };
        query.push(" AND s.status = ").push_bind(name(status));
    }
    if let Some(tag) = &filter.tag {
        query.push(" AND s.tags @> ARRAY[").push_bind(tag).push("]");
    }
    if let Some(cursor) = after {
        query.push(" AND (s.updated_at, s.session_id) < (").push_bind(cursor.updated_at);
        query.push(", ").push_bind(cursor.session_id.0).push(")");
    }
    query
}

fn name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Archived => "archived",
        _ => "active",
    }
}
