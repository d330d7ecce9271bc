//! Why an account refuses a command, with a stable code for each reason.

use chrono::{DateTime, Utc};

use crate::quota::amount::Quantity;
use crate::quota::limits::LimitKind;

/// What sort of refusal it is; HTTP and other edges map it to their own statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaRejectionKind {
    /// Too many requests; some seconds later there is room again.
    RateLimited,
    /// A limit is used up.
    Exhausted,
    /// The caller, or the account, may not.
    Forbidden,
    /// There is no such thing for this caller.
    NotFound,
    /// It doesn't fit the present state.
    Conflict,
    /// It can never be accepted as it stands.
    Invalid,
}

/// A refused command. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaRejection {
    /// A limit has no room for it.
    #[error("{limit}: {needed} needed, {left} of {of} left{}", renewal(*.renews_at))]
    Exceeded {
        /// Which limit; of several, the one that renews last.
        limit: LimitKind,
        /// How much was asked for.
        needed: Quantity,
        /// What is left, holds of running turns taken off.
        left: Quantity,
        /// The limit.
        of: Quantity,
        /// When there is room again; none if not by itself.
        renews_at: Option<DateTime<Utc>>,
    },
    /// The account is suspended.
    #[error("the account is suspended: {0}")]
    Suspended(String),
    /// Only an admin of the tenant may.
    #[error("only an admin of the tenant may do this")]
    AdminOnly,
    /// Nobody has used the account yet.
    #[error("there is no such account; it opens with the user's first use")]
    AccountNotFound,
    /// It is open already.
    #[error("the account exists")]
    AccountExists,
    /// Not one of the deployment's tiers.
    #[error("there is no tier called {0:?}; there are {1}")]
    UnknownTier(String, String),
    /// There is no such hold.
    #[error("there is no such hold")]
    ReservationNotFound,
    /// Its time isn't over.
    #[error("the hold has not expired")]
    NotExpired,
    /// A value that can't be.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn renewal(renews_at: Option<DateTime<Utc>>) -> String {
    match renews_at {
        Some(at) => format!("; renews at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        None => {
            "; waiting won't help: recharge the account, raise its limit or ask for less".to_owned()
        }
    }
}

impl QuotaRejection {
    /// The stable code, as in error answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exceeded { limit: LimitKind::RequestsPerMinute, .. } => "rate_limit_exceeded",
            Self::Exceeded { .. } => "insufficient_quota",
            Self::Suspended(_) => "account_suspended",
            Self::AdminOnly => "admin_only",
            Self::AccountNotFound => "account_not_found",
            Self::AccountExists => "account_exists",
            Self::UnknownTier(..) => "unknown_tier",
            Self::ReservationNotFound => "reservation_not_found",
            Self::NotExpired => "reservation_not_expired",
            Self::Invalid { .. } => "invalid_field",
        }
    }

    /// What sort of refusal it is.
    pub fn kind(&self) -> QuotaRejectionKind {
        use QuotaRejectionKind as Kind;
        match self {
            Self::Exceeded { limit: LimitKind::RequestsPerMinute, .. } => Kind::RateLimited,
            Self::Exceeded { .. } => Kind::Exhausted,
            Self::Suspended(_) | Self::AdminOnly => Kind::Forbidden,
            Self::AccountNotFound | Self::ReservationNotFound => Kind::NotFound,
            Self::AccountExists | Self::NotExpired => Kind::Conflict,
            Self::UnknownTier(..) | Self::Invalid { .. } => Kind::Invalid,
        }
    }

    /// Whether the account has no room for it, for now or until somebody acts.
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Exceeded { .. } | Self::Suspended(_))
    }

    /// The request's field that is at fault, where it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::UnknownTier(..) => Some("tier"),
            Self::Invalid { field, .. } => Some(field),
            _ => None,
        }
    }
}
