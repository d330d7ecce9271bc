//! The bodies: JSON with a `type`, and what happened to whom.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::quota::{QuotaEvent, Threshold};
use domain::{TurnId, UserId};
use eventstore::{Position, RecordedEvent};
use serde::Serialize;
use uuid::Uuid;

use super::WebhookEvent;

/// Little is left of a limit.
#[derive(Debug, Serialize)]
struct ThresholdBody<'a> {
    #[serde(rename = "type")]
    kind: WebhookEvent,
    /// The event's id: the same at every endpoint.
    id: Uuid,
    tenant_id: &'a str,
    user_id: &'a UserId,
    #[serde(flatten)]
    threshold: &'a Threshold,
    turn_id: Option<TurnId>,
    at: DateTime<Utc>,
    position: Position,
}

/// What is told of `event`; nothing of one that this binary doesn't understand. `users` are those
/// whose accounts they are, as the accounts' first events say.
pub(super) fn of(event: &RecordedEvent, users: &HashMap<String, UserId>) -> Option<String> {
    let (threshold, turn_id, at) = match event.decode() {
        Ok(QuotaEvent::ThresholdCrossed { threshold, turn_id, at }) => (threshold, turn_id, at),
        Ok(_) => return None,
        Err(error) => {
            tracing::error!(position = event.position, %error, "webhooks leave an event out");
            return None;
        }
    };
    let Some(user_id) = users.get(&event.aggregate_id) else {
        tracing::error!(position = event.position, "webhooks can't tell whose event it is");
        return None;
    };
    let body = ThresholdBody {
        kind: WebhookEvent::QuotaThreshold,
        id: event.event_id,
        tenant_id: &event.tenant_id,
        user_id,
        threshold: &threshold,
        turn_id,
        at,
        position: event.position,
    };
    serde_json::to_string(&body).ok()
}
