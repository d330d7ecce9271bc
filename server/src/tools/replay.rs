//! `colloquy replay`: the log's word on one session.

use commands::{ReplayRange, replay};
use domain::SessionId;
use eventstore::{EventStore, Position};

use crate::app;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;

pub(crate) async fn session(
    config: &Config,
    id: SessionId,
    as_of: Option<Position>,
) -> Result<(), ServerError> {
    let store = EventStore::new(app::tool_pool(config).await?);
    let as_of = as_of.unwrap_or(Position::MAX);
    let replay = replay(&store, id, ReplayRange { as_of, after: 0, limit: usize::MAX }).await?;
    if replay.version == 0 {
        return Err(ServerError::NoSession(id));
    }
    say(&serde_json::to_string_pretty(&replay)?);
    Ok(())
}
