//! `colloquy replay`: the log's word on one session.

use commands::{Replay, ReplayRange, replay_session};
use domain::SessionId;
use domain::session::Session;
use eventstore::{EventStore, Position};
use serde::Serialize;

use crate::app;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;

/// What is printed.
#[derive(Serialize)]
struct Printed {
    session_id: SessionId,
    #[serde(flatten)]
    replay: Replay<Session>,
}

pub(crate) async fn session(
    config: &Config,
    id: SessionId,
    as_of: Option<Position>,
) -> Result<(), ServerError> {
    let store = EventStore::new(app::tool_pool(config).await?);
    let as_of = as_of.unwrap_or(Position::MAX);
    let range = ReplayRange { as_of, after: 0, limit: usize::MAX };
    let replay = replay_session(&store, id, range).await?;
    if replay.version == 0 {
        return Err(ServerError::NoSession(id));
    }
    say(&serde_json::to_string_pretty(&Printed { session_id: id, replay })?);
    Ok(())
}
