//! The tables of a rebuild: making the new one, and putting it in the old one's place.

use eventstore::Position;
use sqlx::PgConnection;

use crate::read_model::ReadModel;

/// Takes the lock and makes the empty table; tells whether the lock was free.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    lock: i32,
    model: ReadModel,
) -> Result<bool, sqlx::Error> {
    let number = i32::try_from(model.index()).unwrap_or(i32::MAX);
    let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(lock)
        .bind(number)
        .fetch_one(&mut *connection)
        .await?;
    if !free {
        return Ok(false);
    }
    // A page of large messages may take longer than a request would be given.
    sqlx::raw_sql(
        "SET statement_timeout = '5min'; SET idle_in_transaction_session_timeout = '1min'",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(&format!(
        "DROP TABLE IF EXISTS {model}_rebuild;
         CREATE TABLE {model}_rebuild (LIKE {model} INCLUDING ALL);
         DELETE FROM parked_events WHERE projection = '{model}_rebuild';"
    ))
    .execute(&mut *connection)
    .await?;
    copy_options(connection, model).await?;
    Ok(true)
}

/// `LIKE` does not copy storage options.
async fn copy_options(connection: &mut PgConnection, model: ReadModel) -> Result<(), sqlx::Error> {
    let options: Option<String> = sqlx::query_scalar(
        "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = $1::regclass",
    )
    .bind(model.name())
    .fetch_one(&mut *connection)
    .await?;
    if let Some(options) = options {
        sqlx::raw_sql(&format!("ALTER TABLE {model}_rebuild SET ({options})"))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Tells the planner what the new table holds, before it is used.
pub(super) async fn analyze(
    connection: &mut PgConnection,
    model: ReadModel,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(&format!("ANALYZE {model}_rebuild")).execute(connection).await?;
    Ok(())
}

/// Locks the checkpoint until the end of the transaction: a follower moves it before it touches
/// the table, so it waits here and then finds that its batch no longer fits.
pub(super) async fn stop_followers(
    connection: &mut PgConnection,
    model: ReadModel,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT FROM checkpoints WHERE name = $1 FOR UPDATE")
        .bind(model.name())
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts the new table in the old one's place, with the old one's names for its indexes.
pub(super) async fn replace(
    connection: &mut PgConnection,
    model: ReadModel,
    position: Position,
) -> Result<(), sqlx::Error> {
    let renames: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER INDEX %I RENAME TO %I', new.indexname, old.indexname)
         FROM pg_indexes old JOIN pg_indexes new
           ON split_part(new.indexdef, ' USING ', 2) = split_part(old.indexdef, ' USING ', 2)
          AND new.schemaname = old.schemaname
         WHERE old.tablename = $1 AND new.tablename = $1 || '_rebuild'
           AND old.schemaname = current_schema()",
    )
    .bind(model.name())
    .fetch_all(&mut *connection)
    .await?;
    sqlx::raw_sql(&format!(
        "DROP TABLE {model};
         ALTER TABLE {model}_rebuild RENAME TO {model};
         {};
         DELETE FROM parked_events WHERE projection = '{model}';
         UPDATE parked_events SET projection = '{model}' WHERE projection = '{model}_rebuild';",
        renames.join("; ")
    ))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE checkpoints
         SET position = $2, generation = generation + 1, moved_at = clock_timestamp()
         WHERE name = $1",
    )
    .bind(model.name())
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
