//! Watching one turn to its end, from any cursor, on any node.
//!
//! Frames come from NATS while they come whole. When the turn ended before, when pieces are
//! lost, or when nothing is heard for a while, what is stored stands in: a watcher sees the
//! same bytes either way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use broker::{Cursor, Frame, TurnWatch, WatchError};
use domain::{Actor, TurnId};

use crate::error::ApiError;
use crate::state::ApiState;
use crate::{finished, turn_record};

/// After this long without a frame the turn may have ended unheard.
const QUIET: Duration = Duration::from_secs(2);
/// Between looks at a turn whose live frames are lost.
const LOOK: Duration = Duration::from_millis(500);

/// A turn being watched.
pub(crate) struct TurnStream {
    state: ApiState,
    actor: Actor,
    turn_id: TurnId,
    source: Source,
    cursor: Cursor,
}

enum Source {
    /// As it comes.
    Live(Box<TurnWatch>),
    /// The broker is away: look at what is stored until it is back.
    Away,
    /// A piece is lost for good; wait for the end.
    Blind,
    /// From what is stored.
    Stored(VecDeque<Arc<Frame>>),
}

impl TurnStream {
    /// Watches a turn that is about to be requested: nothing of it can be stored yet.
    pub(crate) async fn ahead(state: &ApiState, actor: &Actor, turn_id: TurnId) -> Self {
        Self::open(state, actor, turn_id, Cursor::default(), false).await
    }

    /// Watches a turn that was requested before, after `cursor`.
    pub(crate) async fn join(
        state: &ApiState,
        actor: &Actor,
        turn_id: TurnId,
        cursor: Cursor,
    ) -> Self {
        Self::open(state, actor, turn_id, cursor, true).await
    }

    /// Reads a turn that has ended.
    pub(crate) fn stored(
        state: &ApiState,
        actor: &Actor,
        turn_id: TurnId,
        cursor: Cursor,
        frames: VecDeque<Arc<Frame>>,
    ) -> Self {
        let (state, actor) = (state.clone(), actor.clone());
        Self { state, actor, turn_id, source: Source::Stored(frames), cursor }
    }

    async fn open(
        state: &ApiState,
        actor: &Actor,
        turn_id: TurnId,
        cursor: Cursor,
        stored: bool,
    ) -> Self {
        let source = live(state, actor, turn_id, cursor, stored).await.unwrap_or(Source::Away);
        Self { state: state.clone(), actor: actor.clone(), turn_id, source, cursor }
    }

    /// What has been handed out.
    pub(crate) fn cursor(&self) -> Cursor {
        match &self.source {
            Source::Live(watch) => watch.cursor(),
            _ => self.cursor,
        }
    }

    /// The next frame; none after the end. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Frame>>, ApiError> {
        loop {
            match &mut self.source {
                Source::Stored(frames) => {
                    let frame = frames.pop_front();
                    if let Some(frame) = &frame {
                        let (attempt, sequence) = frame.place();
                        self.cursor = Cursor::after(attempt, sequence);
                    }
                    return Ok(frame);
                }
                Source::Live(watch) => match watch.next(QUIET).await {
                    Ok(frame) => {
                        if matches!(*frame, Frame::Ended { .. }) {
                            self.cursor = watch.cursor();
                            self.source = Source::Stored(VecDeque::new());
                        }
                        return Ok(Some(frame));
                    }
                    Err(WatchError::Quiet) => {}
                    Err(WatchError::Lost) => {
                        self.cursor = watch.cursor();
                        self.source = Source::Blind;
                    }
                },
                Source::Away => {
                    tokio::time::sleep(LOOK).await;
                    let back =
                        live(&self.state, &self.actor, self.turn_id, self.cursor, true).await;
                    if let Some(live) = back {
                        self.source = live;
                        continue;
                    }
                }
                Source::Blind => tokio::time::sleep(LOOK).await,
            }
            self.look().await?;
        }
    }

    /// Goes over to what is stored if the turn has ended.
    async fn look(&mut self) -> Result<(), ApiError> {
        let cursor = self.cursor();
        let detail = match turn_record::read(&self.state, &self.actor, self.turn_id).await {
            Ok(detail) => detail,
            // It may come back; until then there is nothing to tell.
            Err(error) if error.retry_after.is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(frames) = finished::rest(&detail, cursor)? {
            self.cursor = cursor;
            self.source = Source::Stored(frames);
        }
        Ok(())
    }
}

/// Frames as they come, with those published before where `stored` says so; none while the
/// broker is away.
async fn live(
    state: &ApiState,
    actor: &Actor,
    turn_id: TurnId,
    cursor: Cursor,
    stored: bool,
) -> Option<Source> {
    match state.hub.watch(actor.tenant_id.clone(), turn_id, cursor, stored).await {
        Ok(watch) => Some(Source::Live(Box::new(watch))),
        Err(error) => {
            tracing::debug!(%error, %turn_id, "a turn can't be watched live");
            None
        }
    }
}
