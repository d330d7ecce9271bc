//! Reading the history.

use domain::{Actor, SessionId};
use eventstore::{Database, Position, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::messages::MessageRow;
use crate::scope::{Page, Scope};

/// A place in a session's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCursor {
    /// The event of the message there.
    pub position: Position,
    /// The message's place among those of that event.
    pub ordinal: i32,
}

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageOrder {
    /// From the beginning.
    #[default]
    OldestFirst,
    /// From the end.
    NewestFirst,
}

/// A message and the model that wrote it.
#[derive(Debug, Clone)]
pub struct HistoryMessage {
    /// The message.
    pub message: MessageRow,
    /// The model; none for a message that was sent.
    pub model: Option<String>,
}

/// Up to `limit` messages of a session, if `actor` may see it.
///
/// The session's owner and the model's name stand in other read models: wait for a position
/// in all of them.
pub async fn list_messages(
    pool: &Database,
    actor: &Actor,
    session_id: SessionId,
    order: MessageOrder,
    after: Option<MessageCursor>,
    limit: u32,
) -> Result<Option<Page<HistoryMessage, MessageCursor>>, StoreError> {
    let failed = |error| StoreError::from_sqlx("list messages", error);
    if !is_visible(pool, Scope::of(actor), session_id).await.map_err(failed)? {
        return Ok(None);
    }
    let (query, start) = match order {
        MessageOrder::OldestFirst => (FORWARD, MessageCursor { position: 0, ordinal: 0 }),
        MessageOrder::NewestFirst => {
            (BACKWARD, MessageCursor { position: Position::MAX, ordinal: 0 })
        }
    };
    let after = after.unwrap_or(start);
    let rows: Vec<(Json<MessageRow>, Option<String>)> = sqlx::query_as(query)
        .bind(session_id.0)
        .bind(after.position)
        .bind(after.ordinal)
        .bind(i64::from(limit) + 1)
        .fetch_all(pool)
        .await
        .map_err(failed)?;
    let messages = rows
        .into_iter()
        .map(|(message, model)| HistoryMessage { message: message.0, model })
        .collect();
    Ok(Some(Page::cut(messages, limit, |item: &HistoryMessage| MessageCursor {
        position: item.message.position,
        ordinal: item.message.ordinal,
    })))
}

const FORWARD: &str = "SELECT row_to_json(m), t.model
     FROM messages m LEFT JOIN turns t ON t.turn_id = m.turn_id
     WHERE m.session_id = $1 AND (m.position, m.ordinal) > ($2, $3)
     ORDER BY m.position, m.ordinal LIMIT $4";

const BACKWARD: &str = "SELECT row_to_json(m), t.model
     FROM messages m LEFT JOIN turns t ON t.turn_id = m.turn_id
     WHERE m.session_id = $1 AND (m.position, m.ordinal) < ($2, $3)
     ORDER BY m.position DESC, m.ordinal DESC LIMIT $4";

async fn is_visible(
    pool: &Database,
    scope: Scope<'_>,
    session_id: SessionId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM sessions s
                        WHERE s.session_id = $1 AND s.tenant_id = $2
                          AND ($3::text IS NULL OR s.user_id = $3))",
    )
    .bind(session_id.0)
    .bind(scope.tenant)
    .bind(scope.user)
    .fetch_one(pool)
    .await
}
