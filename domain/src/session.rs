//! The session aggregate: one conversation, its tree of messages and its turns.

mod command;
mod decide;
mod decide_attempt;
mod decide_turn;
mod event;
mod prompt;
mod rejection;
mod state;

pub use command::{
    CreateCompletion, CreateSession, LostAttempt, NewMessage, OnBusy, RetryTurn, SendMessage,
    SessionCommand, TurnIds, UpdateSession,
};
pub use decide::{Context, decide};
pub use decide_attempt::{ATTEMPT_AT_WORK, AttemptLimits};
pub use event::{SessionEvent, TurnError, WORKER_LOST};
pub(crate) use prompt::prompt;
pub use prompt::{Prompt, prompt_for};
pub use rejection::{Rejection, RejectionKind};
pub use state::{Session, SessionStatus, Turn, TurnStatus};

/// The aggregate's name in the log.
pub const SESSION: &str = "session";

crate::aggregate::aggregate!(
    Session,
    SESSION,
    SessionCommand,
    SessionEvent,
    Rejection,
    Context,
    decide
);
