//! Checkpoints: how far a projection has come. They move by compare-and-set, as the first
//! statement of the transaction that writes the rows: of two processes one waits for the other
//! and then finds that its batch is done.

use eventstore::Position;
use sqlx::PgConnection;

use crate::parked::{self, ParkedStreams};
use crate::read_model::ReadModel;

/// Where a projection stands, as last seen.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) generation: i32,
    pub(crate) parked: ParkedStreams,
}

impl State {
    /// Reads it. The checkpoint comes first: should another process park a stream or rebuild
    /// in between, the next move fails, for the checkpoint has changed with it.
    pub(crate) async fn load(
        connection: &mut PgConnection,
        model: ReadModel,
    ) -> Result<Self, sqlx::Error> {
        let (position, generation) =
            sqlx::query_as("SELECT position, generation FROM checkpoints WHERE name = $1")
                .bind(model.name())
                .fetch_one(&mut *connection)
                .await?;
        let parked = parked::load(connection, model.name()).await?;
        Ok(Self { position, generation, parked })
    }

    /// Moves the checkpoint within a transaction; tells whether it was still where this state
    /// says. The commit is not made to wait for the disk: should the server crash, rows and
    /// checkpoint go back together and the same events are folded again.
    pub(crate) async fn move_to(
        &self,
        connection: &mut PgConnection,
        model: ReadModel,
        position: Position,
    ) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query(
            "UPDATE checkpoints SET position = $2, moved_at = clock_timestamp()
             WHERE name = $1 AND position = $3 AND generation = $4
             RETURNING set_config('synchronous_commit', 'off', true)",
        )
        .bind(model.name())
        .bind(position)
        .bind(self.position)
        .bind(self.generation)
        .fetch_optional(connection)
        .await?;
        Ok(moved.is_some())
    }
}
