//! What must be true of any log, and of a log with regard to what was asked of it.

use std::collections::{HashMap, HashSet};

use eventstore::{AppendCommand, EventStore, Position, RecordedEvent};
use uuid::Uuid;

/// All events, read the way every reader does.
pub(crate) async fn whole_log(store: &EventStore) -> Vec<RecordedEvent> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = log.last().map_or(0, |event| event.position);
        let page = store.read_after(after, 1000).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// Positions are 1..N; the versions of each stream are 1..k, in the order of positions.
pub(crate) fn assert_in_order(log: &[RecordedEvent]) {
    let mut versions: HashMap<(&str, &str), i64> = HashMap::new();
    let mut ids: HashSet<Uuid> = HashSet::new();
    for (expected, event) in (1..).zip(log) {
        assert_eq!(event.position, expected, "positions have no hole");
        let version = versions.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
        *version += 1;
        assert_eq!(event.sequence, *version, "versions of {} have no hole", event.aggregate_id);
        assert!(ids.insert(event.event_id), "event {} stands twice", event.event_id);
    }
}

/// The events of `command` are at `first..=last`, byte for byte and in order.
pub(crate) fn assert_stands(
    log: &[RecordedEvent],
    command: &AppendCommand,
    first: Position,
    last: Position,
) {
    let start = usize::try_from(first - 1).unwrap();
    let end = usize::try_from(last).unwrap();
    let mut found = log[start..end].iter();
    for stream in &command.streams {
        for (sequence, event) in (stream.expected_version + 1..).zip(&stream.events) {
            let stands = found.next().expect("as many events as were appended");
            assert_eq!(stands.event_id, event.event_id);
            assert_eq!(stands.sequence, sequence);
            assert_eq!(stands.aggregate_type, stream.aggregate_type);
            assert_eq!(stands.aggregate_id, stream.aggregate_id);
            assert_eq!(stands.tenant_id, command.tenant_id);
            assert_eq!(stands.payload.get(), &*event.payload);
            assert_eq!(stands.metadata.get(), &*event.metadata);
        }
    }
    assert!(found.next().is_none(), "no more events than were appended");
}

/// The positions at which events of `command` stand.
pub(crate) fn positions(log: &[RecordedEvent], command: &AppendCommand) -> Vec<Position> {
    let ids: HashSet<Uuid> = event_ids(command).collect();
    let ours = log.iter().filter(|event| ids.contains(&event.event_id));
    ours.map(|event| event.position).collect()
}

pub(crate) fn event_ids(command: &AppendCommand) -> impl Iterator<Item = Uuid> {
    command.streams.iter().flat_map(|stream| &stream.events).map(|event| event.event_id)
}
