//! Requesting a turn and watching it, in one step that a client can't tear apart.

use domain::session::SessionCommand;
use domain::{SessionId, TurnId};

use broker::Cursor;

use crate::caller::Authenticated;
use crate::error::ApiError;
use crate::on_disconnect::{Abandon, OnDisconnect};
use crate::routes::{Accepted, execute};
use crate::state::ApiState;
use crate::turn_stream::TurnStream;

/// A turn that was requested and is watched.
pub(crate) struct Requested {
    pub(crate) accepted: Accepted,
    pub(crate) turn_id: TurnId,
    pub(crate) watched: TurnStream,
    /// Cancels it if its client leaves, where that is asked for.
    pub(crate) abandon: Option<Abandon>,
}

/// What to request.
pub(crate) struct Request {
    pub(crate) session_id: SessionId,
    pub(crate) command: SessionCommand,
    /// The id of the turn, if it is a new one.
    pub(crate) new_turn: TurnId,
    pub(crate) on_disconnect: OnDisconnect,
}

impl Requested {
    /// Requests the turn.
    pub(crate) async fn new(
        state: &ApiState,
        caller: &Authenticated,
        request: Request,
    ) -> Result<Self, ApiError> {
        // In a task of its own: if the client leaves before this is done, its result is dropped
        // with the guard in it.
        let work = tokio::spawn(work(state.clone(), caller.clone(), request));
        work.await.map_err(|error| ApiError::internal(&error))?
    }
}

async fn work(
    state: ApiState,
    caller: Authenticated,
    request: Request,
) -> Result<Requested, ApiError> {
    let Request { session_id, command, new_turn, on_disconnect } = request;
    let tied = on_disconnect == OnDisconnect::Cancel;
    let mut abandon = tied.then(|| Abandon::new(&state, &caller, session_id, new_turn));
    // Watched before it exists, so that nothing of it can be missed.
    let ahead = TurnStream::ahead(&state, &caller.actor, new_turn).await;
    let executed = execute(&state, &caller, session_id, command, None).await;
    if let (Err(error), Some(abandon)) = (&executed, &mut abandon) {
        // If it was requested all the same it is nobody's now, unless the client comes again.
        if !error.leaves_doubt() || caller.may_repeat() {
            abandon.disarm();
        }
    }
    let accepted = Accepted::from(&executed?);
    // A repeat has the turn of its first time.
    let turn_id = accepted.turn_id.unwrap_or(new_turn);
    if let Some(abandon) = &mut abandon {
        abandon.becomes(accepted.session_id, turn_id);
    }
    let watched = if turn_id == new_turn {
        ahead
    } else {
        TurnStream::join(&state, &caller.actor, turn_id, Cursor::default()).await
    };
    Ok(Requested { accepted, turn_id, watched, abandon })
}
