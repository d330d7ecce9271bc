//! What a process may be asked for.

use commands::{AccountExecuted, CommandBus, CommandError};
use domain::quota::{ConsumeQuota, QuotaCommand};
use domain::session::{OnBusy, Rejection, SessionCommand};
use domain::{Ids as _, SystemIds};

use crate::holds::{expire, extend};
use crate::takeover::take_over;
use crate::turns::{Done, Turn, USED, usage};
use crate::world::{MODEL, ann, owner, worker};

/// What a process is asked for. Turns are named by how long ago they were requested.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// In the session that all share.
    Send(OnBusy),
    /// In a session of its own.
    Complete,
    Start,
    TakeOver,
    Answer,
    Fail,
    Release,
    Cancel,
    Confirm,
    Extend,
    Expire,
    /// Without a hold.
    Consume,
}

pub(super) fn is_refusal(done: &Done) -> bool {
    matches!(done, Err(CommandError::Rejected(_) | CommandError::Quota { .. }))
}

/// The `word` of the attempt that holds the turn, as far as this process knows.
pub(super) fn of_attempt(mut word: SessionCommand, held_by: u32) -> SessionCommand {
    use SessionCommand::{CompleteTurn, ConfirmCancel, FailTurn};
    if let CompleteTurn { attempt, .. } | FailTurn { attempt, .. } | ConfirmCancel { attempt, .. } =
        &mut word
    {
        *attempt = held_by;
    }
    word
}

pub(super) async fn act(bus: &CommandBus, act: Act, turn: Option<Turn>) -> Done {
    let Some(turn) = turn else { return Err(CommandError::Rejected(Rejection::TurnNotFound)) };
    let (turn_id, session_id) = (turn.ids.turn_id, turn.session_id);
    let load = || async {
        let session = bus.load(session_id).await?;
        Ok::<_, CommandError>(session.turn(turn_id).map_or(0, |turn| turn.attempt))
    };
    let word = match act {
        Act::Complete => return turn.request(bus).await,
        Act::Send(on_busy) => {
            let mut send = turn.send("hello");
            if let SessionCommand::SendMessage(send) = &mut send {
                send.on_busy = on_busy;
            }
            return bus.execute(session_id, &send, &ann()).await;
        }
        Act::Cancel => {
            let cancel = SessionCommand::CancelTurn { turn_id };
            return bus.execute(session_id, &cancel, &ann()).await;
        }
        Act::Extend => return quota_only(extend(bus, turn, 50).await),
        Act::Expire => return quota_only(expire(bus, turn).await),
        Act::Consume => return quota_only(consume(bus).await),
        Act::Start => {
            SessionCommand::StartAttempt { turn_id, worker_id: "w".parse().unwrap(), lost: None }
        }
        Act::TakeOver => take_over(turn, load().await?),
        Act::Release => {
            SessionCommand::ReleaseAttempt { turn_id, attempt: load().await?, partial: None }
        }
        Act::Answer => of_attempt(turn.completed(USED), load().await?),
        Act::Fail => of_attempt(turn.failed(), load().await?),
        Act::Confirm => of_attempt(turn.cancelled(USED), load().await?),
    };
    turn.end(bus, word).await
}

/// What became of a command to the account, as if it were one to a session.
pub(super) fn quota_only(done: Result<AccountExecuted, CommandError>) -> Done {
    Err(match done {
        // There is no such answer for the account alone.
        Ok(_) => CommandError::Rejected(Rejection::TurnFinished),
        Err(error) => error,
    })
}

pub(super) async fn consume(bus: &CommandBus) -> Result<AccountExecuted, CommandError> {
    let consume = QuotaCommand::ConsumeQuota(ConsumeQuota {
        entry_id: SystemIds.next(),
        reservation_id: None,
        turn_id: None,
        service: "chat".to_owned(),
        model: MODEL.to_owned(),
        usage: usage(5, 5),
    });
    bus.execute_quota(&owner(), vec![consume], &worker()).await
}
