//! A connection to the database that is nobody else's: what it holds, it holds as long as it stands.

use eventstore::EventStore;
use sqlx::{Connection, PgConnection};

/// Connects, for signs of life: they are worth nothing after a crash, so they needn't wait for
/// the disk.
pub(crate) async fn connect(store: &EventStore) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&store.pool().connect_options()).await?;
    sqlx::query("SET synchronous_commit = off").execute(&mut connection).await?;
    Ok(connection)
}
