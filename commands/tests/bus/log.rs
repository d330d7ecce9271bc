//! What stands in the log, and whether all of it may.

use std::collections::HashMap;

use domain::AccountId;
use domain::quota::{QUOTA, QuotaEvent};
use eventstore::RecordedEvent;

use crate::books::Books;
use crate::turns::Turn;
use crate::world::{World, owner};

/// Turns whose hold is missing, is there twice, or was appended by another call than the turn;
/// and holds without a turn.
const APART: &str = "
    WITH t AS (SELECT payload->'TurnRequested'->>'turn_id' AS id, xmin FROM events
               WHERE event_type = 'TurnRequested'),
         r AS (SELECT payload->'QuotaReserved'->>'reservation_id' AS id, xmin FROM events
               WHERE event_type = 'QuotaReserved'
                 AND NOT (payload->'QuotaReserved'->>'extends')::boolean)
    SELECT count(*) FROM t FULL JOIN r ON r.id = t.id AND r.xmin = t.xmin
    WHERE t.id IS NULL OR r.id IS NULL";

/// Remembered commands whose positions aren't those of their own events.
const ASTRAY: &str = "
    SELECT count(*) FROM commands c
    WHERE (SELECT count(*) FROM events e
           WHERE e.position IN (c.first_position, c.last_position)
             AND e.metadata->>'command_id' = c.command_id)
          <> (CASE WHEN c.first_position = c.last_position THEN 1 ELSE 2 END)
       OR EXISTS (SELECT FROM events e
                  WHERE e.metadata->>'command_id' = c.command_id
                    AND (e.position < c.first_position OR e.position > c.last_position))";

/// The whole log, found to be in order.
pub(crate) struct Log(Vec<RecordedEvent>);

impl Log {
    /// Reads and checks it: positions and versions have no gaps, each turn has its hold from
    /// the same append, commands are remembered with their own events, every account's books
    /// are right.
    pub(crate) async fn read(world: &World) -> Self {
        let log = Self(world.store.read_after(0, 1_000_000).await.unwrap());
        let mut versions: HashMap<(&str, &str), i64> = HashMap::new();
        for (position, event) in (1..).zip(&log.0) {
            assert_eq!(event.position, position);
            let version = versions.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
            *version += 1;
            assert_eq!(event.sequence, *version, "{}", event.event_type);
        }
        for (kind, id) in versions.keys().filter(|(kind, _)| *kind == QUOTA) {
            Books::of(&log.quota_events(kind, id));
        }
        assert_eq!(world.number(APART).await, 0, "a turn and its hold are apart");
        assert_eq!(world.number(ASTRAY).await, 0, "a command is remembered with other events");
        log
    }

    /// How many events have this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|event| event.event_type == name).count()
    }

    /// How many events there are besides the catalog's.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|event| event.aggregate_type != "catalog").count()
    }

    /// The owner's account's events.
    pub(crate) fn account(&self) -> Vec<QuotaEvent> {
        let (tenant_id, user_id) = owner();
        self.quota_events(QUOTA, &AccountId::of(&tenant_id, &user_id).to_string())
    }

    pub(crate) fn books(&self) -> Books {
        Books::of(&self.account())
    }

    /// The names of a session's events.
    pub(crate) fn session(&self, turn: Turn) -> Vec<&str> {
        let id = turn.session_id.to_string();
        let own = self.0.iter().filter(|event| event.aggregate_id == id);
        own.map(|event| event.event_type.as_str()).collect()
    }

    fn quota_events(&self, kind: &str, id: &str) -> Vec<QuotaEvent> {
        let own = |event: &&RecordedEvent| event.aggregate_type == kind && event.aggregate_id == id;
        self.0.iter().filter(own).map(|event| event.decode().unwrap()).collect()
    }
}
