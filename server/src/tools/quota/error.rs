//! Why a command to an account failed.

use commands::CommandError;
use domain::{TenantId, UserId};
use eventstore::StoreError;

/// The error of `colloquy quota`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuotaError {
    #[error(
        "{0}/{1} has no account: it opens with the user's first use, or with `colloquy quota open`"
    )]
    NoAccount(TenantId, UserId),
    #[error("nothing was changed: {0}")]
    Refused(String),
    #[error("the command was not carried out")]
    Command(#[source] CommandError),
    #[error("--{option} {text}: {problem}")]
    Option { option: &'static str, text: String, problem: String },
    #[error("another reprice is at work; wait until it has ended")]
    RepriceRuns,
    #[error(
        "the reprice was broken off and can be run again: what it has posted stays, and counts"
    )]
    Interrupted(#[source] Box<QuotaError>),
    #[error("{0} of the accounts could not be corrected; the rest is done")]
    Uncorrected(usize),
    #[error(
        "the read models don't hold the whole log; do projectors run? (`colloquy projections list`)"
    )]
    Behind(#[from] projections::WaitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the result can't be printed")]
    Print(#[from] serde_json::Error),
}

impl From<CommandError> for QuotaError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Quota { rejection, .. } => Self::Refused(rejection.to_string()),
            CommandError::IdReused => {
                Self::Refused("--command-id was used for another command".to_owned())
            }
            error => Self::Command(error),
        }
    }
}
