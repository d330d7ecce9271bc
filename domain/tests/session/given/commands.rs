//! What is asked of a session.

use domain::session::{LostAttempt, OnBusy, SendMessage, SessionCommand};
use domain::{FinishReason, Role, SettingsPatch, Usage};

use super::{answer, ids, said, trouble, turn_id, worker};

/// "hello", as turn `number`.
pub(crate) fn send(number: u128) -> SendMessage {
    SendMessage {
        ids: ids(number),
        message: said(Role::User, "hello"),
        parent_id: None,
        settings: SettingsPatch::default(),
        on_busy: OnBusy::Refuse,
    }
}

pub(crate) fn interrupt(number: u128) -> SendMessage {
    SendMessage { on_busy: OnBusy::Interrupt, ..send(number) }
}

pub(crate) fn cancel(number: u128) -> SessionCommand {
    SessionCommand::CancelTurn { turn_id: turn_id(number) }
}

pub(crate) fn start(number: u128) -> SessionCommand {
    let (turn_id, worker_id) = (turn_id(number), worker("worker"));
    SessionCommand::StartAttempt { turn_id, worker_id, lost: None }
}

/// From an attempt whose worker was lost when it had said `text`.
pub(crate) fn take_over(number: u128, attempt: u32, text: &str) -> SessionCommand {
    let (reached, partial) = (text.len() as u64, answer(number, text));
    let (turn_id, worker_id) = (turn_id(number), worker("worker"));
    let lost = Some(LostAttempt { attempt, reached, partial });
    SessionCommand::StartAttempt { turn_id, worker_id, lost }
}

/// The provider broke off when it had said `text`.
pub(crate) fn abandon(number: u128, attempt: u32, text: &str) -> SessionCommand {
    SessionCommand::AbandonAttempt {
        turn_id: turn_id(number),
        attempt,
        error: trouble(),
        reached: text.len() as u64,
        partial: answer(number, text),
    }
}

pub(crate) fn release(number: u128, attempt: u32) -> SessionCommand {
    SessionCommand::ReleaseAttempt { turn_id: turn_id(number), attempt, partial: None }
}

pub(crate) fn complete(number: u128, attempt: u32) -> SessionCommand {
    SessionCommand::CompleteTurn {
        turn_id: turn_id(number),
        attempt,
        finish_reason: FinishReason::Stop,
        completion: answer(number, "hi"),
    }
}

pub(crate) fn fail(number: u128, attempt: u32, usage: Option<Usage>) -> SessionCommand {
    let partial = answer(number, "so f");
    SessionCommand::FailTurn { turn_id: turn_id(number), attempt, error: trouble(), usage, partial }
}

pub(crate) fn confirm(number: u128, attempt: u32) -> SessionCommand {
    let completion = answer(number, "hi");
    SessionCommand::ConfirmCancel { turn_id: turn_id(number), attempt, completion }
}

/// Whatever can be a command: most tests send messages.
pub(crate) trait Command {
    fn command(self) -> SessionCommand;
}

impl Command for SessionCommand {
    fn command(self) -> SessionCommand {
        self
    }
}

impl Command for SendMessage {
    fn command(self) -> SessionCommand {
        SessionCommand::SendMessage(self)
    }
}
