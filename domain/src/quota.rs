//! The quota aggregate: one account for each user of a tenant, with its limits, its holds and
//! its ledger.

mod admit;
mod amount;
mod apply;
mod command;
mod decide;
mod decide_admin;
mod decide_usage;
mod event;
mod limits;
mod meters;
mod rejection;
mod state;
mod view;

pub use amount::{Amount, Quantity, Sum};
pub use command::{ConsumeQuota, QuotaCommand, ReserveQuota};
pub use decide::{QuotaContext, decide};
pub use event::{Level, Posting, QuotaEvent, Repriced, ResetScope, Threshold};
pub use limits::{
    LimitKind, LimitOverrides, Limits, LimitsPatch, MOST_TOKENS, QuotaPolicy, most_credits,
};
pub use rejection::{QuotaRejection, QuotaRejectionKind};
pub use state::{Account, Hold, Window};
pub use view::{AccountStatus, AccountView, LimitView};

/// The aggregate's name in the log.
pub const QUOTA: &str = "quota";

crate::aggregate::aggregate!(
    Account,
    QUOTA,
    QuotaCommand,
    QuotaEvent,
    QuotaRejection,
    QuotaContext,
    decide
);
