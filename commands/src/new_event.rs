//! An event on its way into the log.

use std::sync::Arc;

use cqrs_es::DomainEvent;
use domain::Ids;
use eventstore::NewEvent;
use serde::Serialize;

/// `event`, called `name`, as it will be stored.
pub(crate) fn new_event<E: DomainEvent + Serialize>(
    ids: &dyn Ids,
    name: &'static str,
    event: &E,
    metadata: &Arc<str>,
) -> Result<NewEvent, serde_json::Error> {
    Ok(NewEvent {
        event_id: ids.next(),
        event_type: name,
        event_version: event.event_version(),
        payload: serde_json::to_string(event)?.into(),
        metadata: Arc::clone(metadata),
    })
}
