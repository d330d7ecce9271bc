//! From the log to deliveries.

use std::collections::{BTreeSet, HashMap};

use domain::UserId;
use domain::quota::{QUOTA, QuotaEvent};
use eventstore::{EventStore, RecordedEvent, StoreError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::table::{self, NewDelivery};
use super::{Webhook, payload};

/// Positions looked at in one go.
const STRIDE: i64 = 10_000;

/// Writes the deliveries of what the log has since the endpoint's checkpoint, or of some of it
/// if `stop` says so: the rest is there at the next start.
pub(super) async fn collect(
    store: &EventStore,
    webhook: &Webhook,
    key: &str,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut from = table::checkpoint(store.pool(), key).await?;
    let head = store.head().await?;
    let tenant = webhook.tenant.as_ref().map(domain::TenantId::as_str);
    let (aggregates, names): (Vec<&str>, Vec<&str>) =
        webhook.events.iter().map(|event| event.recorded_as()).unzip();
    while from < head && !stop.is_cancelled() {
        let to = head.min(from + STRIDE);
        let events = table::events(store.pool(), (from, to), tenant, (&aggregates, &names)).await?;
        let users = users(store, &events).await?;
        let mut deliveries = Vec::new();
        for event in events {
            let Some(payload) = payload::of(&event, &users) else { continue };
            deliveries.push(NewDelivery {
                // The same whoever computes it: a repeat writes nothing.
                id: Uuid::new_v5(&event.event_id, key.as_bytes()),
                tenant_id: event.tenant_id,
                position: event.position,
                payload,
            });
        }
        let endpoint = (key, webhook.name.as_str());
        table::enqueue(store.pool(), endpoint, (from, to), &deliveries).await?;
        from = to;
    }
    Ok(())
}

/// Whose accounts the events are of, by the accounts' ids.
async fn users(
    store: &EventStore,
    events: &[RecordedEvent],
) -> Result<HashMap<String, UserId>, StoreError> {
    let accounts: BTreeSet<&str> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let accounts: Vec<&str> = accounts.into_iter().collect();
    let first = table::first_events(store.pool(), QUOTA, &accounts).await?;
    let users = first.into_iter().filter_map(|event| match event.decode() {
        Ok(QuotaEvent::AccountOpened { user_id, .. }) => Some((event.aggregate_id, user_id)),
        _ => None,
    });
    Ok(users.collect())
}
