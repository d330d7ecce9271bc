//! What becomes of a turn whose client leaves before its end.
//!
//! A connection is a viewer: closing it stops nothing. Of a call that belongs to its connection
//! alone nobody else will ask for the answer, so it is cancelled, unless the deployment or the
//! request says otherwise.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use domain::session::SessionCommand;
use domain::{SessionId, TurnId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::routes::execute;
use crate::state::ApiState;

/// What a request wants for its turn, if not what is usual on its route.
pub(crate) const ON_DISCONNECT: HeaderName = HeaderName::from_static("x-colloquy-on-disconnect");

/// How long a cancellation is tried while the database is away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of a turn whose client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is cancelled.
    Cancel,
    /// It goes on.
    Continue,
}

impl OnDisconnect {
    /// What the request's header asks for.
    pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(ON_DISCONNECT) else { return Ok(None) };
        match value.as_bytes() {
            b"cancel" => Ok(Some(Self::Cancel)),
            b"continue" => Ok(Some(Self::Continue)),
            _ => {
                let detail = format!("{ON_DISCONNECT} must be `cancel` or `continue`");
                Err(ApiError::bad_request("invalid_on_disconnect", detail))
            }
        }
    }
}

/// Cancels a turn when its client goes away before the end: when this is dropped.
pub(crate) struct Abandon {
    state: ApiState,
    caller: Authenticated,
    session_id: SessionId,
    turn_id: TurnId,
    armed: bool,
}

impl Abandon {
    /// For a turn that `caller` is about to request.
    pub(crate) fn new(
        state: &ApiState,
        caller: &Authenticated,
        session_id: SessionId,
        turn_id: TurnId,
    ) -> Self {
        // The request's key is the turn's: the cancellation is another command.
        let (state, caller) = (state.clone(), caller.without_key());
        Self { state, caller, session_id, turn_id, armed: true }
    }

    /// The turn turned out to be another one, of the request's first time.
    pub(crate) fn becomes(&mut self, session_id: SessionId, turn_id: TurnId) {
        (self.session_id, self.turn_id) = (session_id, turn_id);
    }

    /// The turn has ended, or shall go on: there is nothing to cancel.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        // Where the process ends it is not the client that leaves.
        if !self.armed || self.state.ending.is_cancelled() {
            return;
        }
        let (state, caller) = (self.state.clone(), self.caller.clone());
        let farewells = state.farewells.clone();
        farewells.spawn(cancel(state, caller, self.session_id, self.turn_id));
    }
}

/// Cancels the turn, and tries for a while if that can't be written now.
async fn cancel(state: ApiState, caller: Authenticated, session_id: SessionId, turn_id: TurnId) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let command = SessionCommand::CancelTurn { turn_id };
        let Err(error) = execute(&state, &caller, session_id, command, None).await else { return };
        // It never came to be, or is gone with its session.
        if error.retry_after.is_none() {
            tracing::debug!(code = error.code, %turn_id, "there was no turn to cancel");
            return;
        }
        let pause = state.ending.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        if pause.is_none() || Instant::now() >= give_up {
            tracing::warn!(code = error.code, %turn_id, "a turn whose client left goes on");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_says_what_becomes_of_the_turn() {
        let asked = |value: &'static [u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            OnDisconnect::asked(&HeaderMap::from_iter([(ON_DISCONNECT, value)]))
        };
        assert_eq!(OnDisconnect::asked(&HeaderMap::new()).unwrap(), None);
        assert_eq!(asked(b"cancel").unwrap(), Some(OnDisconnect::Cancel));
        assert_eq!(asked(b"continue").unwrap(), Some(OnDisconnect::Continue));
        for wrong in [&b""[..], b"Cancel", b"stop", b"\xff"] {
            assert_eq!(asked(wrong).unwrap_err().code, "invalid_on_disconnect");
        }
    }
}
