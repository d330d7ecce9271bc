//! `GET /v1/sessions/{id}/events`: all turns of a session, one after the other, as they come.
//!
//! Without `Last-Event-ID` it begins with the turn that runs now, if any; with it, exactly
//! after that event. Ids here are `{turn}:{attempt}-{sequence}`, or, in the hint at the end of the
//! process, `@{position}`: turns requested after that position.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use broker::{Cursor, EventFeed};
use bytes::Bytes;
use domain::session::SESSION;
use domain::{SessionId, TurnId};
use eventstore::Position;
use futures::Stream;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use super::sessions::find;
use super::turns::last_event_id;
use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::extract::{Params, PathId};
use crate::position::MinPosition;
use crate::state::ApiState;
use crate::teller::{Teller, Told};
use crate::turn_stream::TurnStream;
use crate::{finished, position, sse, turn_record};

/// Without a hint, new turns are looked for this often.
const LOOK: Duration = Duration::from_secs(1);
/// After a hint, the read model may need a moment.
const SOON: Duration = Duration::from_millis(20);

/// Where a watcher of a session stands.
struct Follower {
    state: ApiState,
    caller: Authenticated,
    session_id: SessionId,
    /// Turns requested up to here were followed to their end, or are none of ours.
    after: Position,
    /// The turn to begin with, and where in it.
    first: Option<(TurnId, Cursor)>,
    hints: Option<EventFeed>,
    last_sign: Instant,
}

pub(crate) async fn follow(
    State(state): State<ApiState>,
    caller: Authenticated,
    PathId(id): PathId<SessionId>,
    Params(min): Params<MinPosition>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    position::wait(&state, min.position()).await?;
    // Listening begins before looking, so that no turn falls in between.
    let tenant = caller.actor.tenant_id.as_str();
    let hints = state.broker.subscribe_aggregate(tenant, SESSION, &id.to_string()).await.ok();
    let head = state.store.head().await?;
    let session = find(&state, &caller, id).await?;
    let mut follower = Follower {
        first: None,
        after: session.last_position,
        state,
        caller,
        session_id: id,
        hints,
        last_sign: Instant::now(),
    };
    let last = last_event_id(&headers)?;
    let position = last.and_then(|text| text.strip_prefix('@'));
    if let Some(position) = position {
        let position = position.parse().map_err(|_| invalid_id())?;
        if !(0..=head).contains(&position) {
            return Err(sse::never_sent());
        }
        follower.after = position;
    } else if let Some(text) = last {
        let (turn_id, cursor) = parse_id(text)?;
        let detail = turn_record::read(&follower.state, &follower.caller.actor, turn_id).await?;
        if detail.turn.session_id != id {
            return Err(invalid_id());
        }
        follower.after = detail.turn.requested_position;
        let is_seen = finished::rest(&detail, cursor)?.is_some_and(|rest| rest.is_empty());
        follower.first = (!is_seen).then_some((turn_id, cursor));
    } else if let Some(running) = session.active_turns.first() {
        let turn = turn_record::read(&follower.state, &follower.caller.actor, *running).await?.turn;
        follower.after = turn.requested_position;
        follower.first = Some((*running, Cursor::default()));
    }
    Ok(sse::response(events(follower)))
}

fn parse_id(text: &str) -> Result<(TurnId, Cursor), ApiError> {
    let (turn, place) = text.split_once(':').ok_or_else(invalid_id)?;
    let turn = turn.parse().map_err(|_| invalid_id())?;
    Ok((turn, sse::parse_id(place).map_err(|_| invalid_id())?))
}

fn invalid_id() -> ApiError {
    let detail = "Last-Event-ID must be an id of this stream, as in `{turn_id}:1-17`";
    ApiError::bad_request("invalid_last_event_id", detail)
}

fn events(mut follower: Follower) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    async_stream::stream! {
        let stopping = follower.state.stopping.clone();
        let mut next = follower.first.take();
        loop {
            let Some((turn_id, cursor)) = next.take() else {
                let found = tokio::select! {
                    found = follower.next_turn() => found,
                    () = stopping.cancelled() => break,
                };
                next = found.map(|turn_id| (turn_id, Cursor::default()));
                if next.is_none() {
                    yield Ok(sse::keep_alive());
                }
                continue;
            };
            let actor = &follower.caller.actor;
            let mut watched = TurnStream::join(&follower.state, actor, turn_id, cursor).await;
            let mut teller = Teller::new(turn_id, cursor);
            loop {
                let frame = tokio::select! {
                    frame = tokio::time::timeout(follower.state.keep_alive, watched.next()) => frame,
                    () = stopping.cancelled() => break,
                };
                let frame = match frame {
                    Err(_) => {
                        yield Ok(sse::keep_alive());
                        continue;
                    }
                    Ok(Ok(Some(frame))) => frame,
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => {
                        yield Ok(sse::broken(&error));
                        return;
                    }
                };
                let mut told = teller.tell(&frame);
                for event in &mut told {
                    event.data["turn_id"] = json!(turn_id);
                }
                let id = |told: &Told| format!("{turn_id}:{}", told.id());
                if !told.is_empty() {
                    yield Ok(sse::told_of(turn_id, &frame, &told, id));
                }
            }
            if stopping.is_cancelled() {
                let resume = sse::resume_id(teller.cursor()).map(|id| format!("{turn_id}:{id}"));
                // Nothing of the turn was sent: it is to be found again.
                let resume = resume.unwrap_or_else(|| format!("@{}", follower.after - 1));
                yield Ok(sse::event("stream.closing", None, &json!({ "resume": resume })));
                return;
            }
        }
        let resume = format!("@{}", follower.after);
        yield Ok(sse::event("stream.closing", None, &json!({ "resume": resume })));
    }
}

impl Follower {
    /// The next turn of the session; none when it's time for a sign of life.
    async fn next_turn(&mut self) -> Option<TurnId> {
        self.last_sign = Instant::now();
        let quiet = self.last_sign + self.state.keep_alive;
        loop {
            if let Some(turn_id) = self.look().await {
                return Some(turn_id);
            }
            if Instant::now() >= quiet {
                return None;
            }
            let until = (Instant::now() + LOOK).min(quiet);
            if self.hint(until).await {
                tokio::time::sleep(SOON).await;
            }
        }
    }

    async fn look(&mut self) -> Option<TurnId> {
        let actor = &self.caller.actor;
        let pool = self.state.pool();
        let found = projections::next_turn(pool, actor, self.session_id, self.after).await;
        let next = found.unwrap_or_else(|error| {
            tracing::debug!(%error, "new turns can't be looked for");
            None
        })?;
        self.after = next.requested_position;
        Some(next.turn_id)
    }

    /// Waits for a change of the session, at most until `until`.
    async fn hint(&mut self, until: Instant) -> bool {
        match &mut self.hints {
            Some(feed) => match tokio::time::timeout_at(until, feed.next()).await {
                Ok(Some(_)) => true,
                Ok(None) => {
                    self.hints = None;
                    false
                }
                Err(_) => false,
            },
            None => {
                tokio::time::sleep_until(until).await;
                false
            }
        }
    }
}
