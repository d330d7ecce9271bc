//! What an account's refusal says to a client: which limit, how much is left, when it renews,
//! what to do.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use chrono::{DateTime, Utc};
use domain::quota::{AccountView, LimitKind, Quantity, QuotaRejection, QuotaRejectionKind};
use serde_json::{Value, json};

use super::headers::{self, SHOULD_RETRY};
use crate::error::ApiError;

/// Seconds after which a running turn may have ended.
const A_TURN: u64 = 5;

/// A refusal, and the account that refuses.
#[derive(Debug, Clone)]
pub(crate) struct QuotaRefusal {
    rejection: QuotaRejection,
    account: Box<AccountView>,
}

impl From<QuotaRejection> for ApiError {
    fn from(rejection: QuotaRejection) -> Self {
        let status = match rejection.kind() {
            QuotaRejectionKind::RateLimited | QuotaRejectionKind::Exhausted => {
                StatusCode::TOO_MANY_REQUESTS
            }
            QuotaRejectionKind::Forbidden => StatusCode::FORBIDDEN,
            QuotaRejectionKind::NotFound => StatusCode::NOT_FOUND,
            QuotaRejectionKind::Conflict => StatusCode::CONFLICT,
            QuotaRejectionKind::Invalid => StatusCode::BAD_REQUEST,
        };
        let error = Self::new(status, rejection.code(), rejection.to_string());
        match rejection.field() {
            Some(field) => error.with_field(field),
            None => error,
        }
    }
}

impl QuotaRefusal {
    /// The error for a refusal.
    pub(crate) fn error(rejection: QuotaRejection, account: Box<AccountView>) -> ApiError {
        let error = ApiError::from(rejection.clone());
        if error.status != StatusCode::TOO_MANY_REQUESTS {
            return error;
        }
        let refusal = Self { rejection, account };
        ApiError { detail: refusal.detail(), quota: Some(Box::new(refusal)), ..error }
    }

    /// What the account says, and what to do about it.
    fn detail(&self) -> String {
        let QuotaRejection::Exceeded { limit, needed, left, of, renews_at } = &self.rejection
        else {
            return self.rejection.to_string();
        };
        if self.may_fit_soon() {
            let held = self.held(*limit);
            return format!("{limit}: {needed} needed, {left} of {of} left{held}; try again then");
        }
        let advice = match (limit, renews_at) {
            (LimitKind::RequestsPerMinute, _) => "; wait until then",
            (_, Some(_)) => "; wait until then, ask for less, or have the limit raised",
            // The rejection has said it.
            (_, None) => "",
        };
        format!("{}{}{advice}", self.rejection, self.held(*limit))
    }

    /// What running turns hold may come back.
    fn held(&self, kind: LimitKind) -> String {
        match self.reserved(kind).filter(|reserved| is_some(*reserved)) {
            Some(reserved) => format!("; running turns hold {reserved} until they end"),
            None => String::new(),
        }
    }

    fn reserved(&self, kind: LimitKind) -> Option<Quantity> {
        let limit = self.account.limits.iter().find(|limit| limit.kind == kind)?;
        Some(limit.reserved)
    }

    /// Whether there is room if running turns turn out to need none of what they hold.
    fn may_fit_soon(&self) -> bool {
        let QuotaRejection::Exceeded { limit, needed, left, .. } = &self.rejection else {
            return false;
        };
        match (*left, self.reserved(*limit), *needed) {
            (Quantity::Count(left), Some(Quantity::Count(held)), Quantity::Count(needed)) => {
                left.saturating_add(held) >= needed
            }
            (Quantity::Credits(left), Some(Quantity::Credits(held)), Quantity::Credits(needed)) => {
                left.plus(held) >= needed
            }
            _ => false,
        }
    }

    /// The members of the body that are for programs.
    pub(crate) fn members(&self) -> Value {
        match &self.rejection {
            QuotaRejection::Exceeded { limit, needed, left, of, renews_at } => json!({
                "limit": limit, "limit_value": of, "left": left, "needed": needed,
                "renews_at": renews_at,
            }),
            _ => json!({}),
        }
    }

    /// The `type` of the error in `OpenAI`'s shape.
    pub(crate) fn openai_type(&self) -> &'static str {
        match self.rejection.kind() {
            QuotaRejectionKind::RateLimited => "requests",
            _ => "insufficient_quota",
        }
    }

    /// Puts onto the answer when to come again, and how the account stands.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap, now: DateTime<Utc>) {
        headers::set(headers, &self.account, now);
        if let Some(seconds) = self.retry_after(now) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Clients would otherwise try again at once, or hang until the next day.
        if self.rejection.kind() == QuotaRejectionKind::Exhausted && !self.may_fit_soon() {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
    }

    /// Seconds after which the same request fits, if it ever does by itself.
    fn retry_after(&self, now: DateTime<Utc>) -> Option<u64> {
        if self.may_fit_soon() {
            return Some(A_TURN);
        }
        let QuotaRejection::Exceeded { renews_at: Some(at), .. } = &self.rejection else {
            return None;
        };
        Some(headers::seconds_up(*at - now).max(1))
    }
}

fn is_some(quantity: Quantity) -> bool {
    match quantity {
        Quantity::Count(count) => count > 0,
        Quantity::Credits(credits) => credits.is_positive(),
    }
}

#[cfg(test)]
mod tests;
