//! The rows a batch works on: loaded from the table or made by the batch, changed in memory,
//! then written back at once.

use std::collections::{HashMap, HashSet};

use domain::SessionId;
use uuid::Uuid;

use crate::projection::{FoldError, Row};

/// Rows in memory.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    slots: HashMap<Uuid, Slot<R>>,
    removed: HashSet<SessionId>,
}

#[derive(Debug)]
struct Slot<R> {
    row: R,
    changed: bool,
}

/// What is to be written: first the removals, then the rows.
#[derive(Debug)]
pub(crate) struct Changes<R> {
    /// Sessions whose rows of before the batch are gone.
    pub(crate) removed: Vec<Uuid>,
    /// New and changed rows.
    pub(crate) rows: Vec<R>,
}

impl<R: Row> Rows<R> {
    /// The rows that the table holds.
    pub(crate) fn loaded(rows: impl IntoIterator<Item = R>) -> Self {
        let slots = rows.into_iter().map(|row| (row.key(), Slot { row, changed: false }));
        Self { slots: slots.collect(), removed: HashSet::new() }
    }

    /// The row called `key`, to be changed.
    pub(crate) fn change(&mut self, key: Uuid) -> Result<&mut R, FoldError> {
        self.find(key).ok_or(FoldError::Missing(key))
    }

    /// The same where there may be none.
    pub(crate) fn find(&mut self, key: Uuid) -> Option<&mut R> {
        let slot = self.slots.get_mut(&key)?;
        slot.changed = true;
        Some(&mut slot.row)
    }

    /// Adds a row, or puts it in the place of an older one.
    pub(crate) fn insert(&mut self, row: R) {
        self.slots.insert(row.key(), Slot { row, changed: true });
    }

    /// Removes all rows of a session, loaded or not.
    pub(crate) fn remove_session(&mut self, session_id: SessionId) {
        self.slots.retain(|_, slot| slot.row.session_id() != Some(session_id));
        self.removed.insert(session_id);
    }

    /// What has changed, in the order of the keys.
    pub(crate) fn into_changes(self) -> Changes<R> {
        let changed = self.slots.into_values().filter(|slot| slot.changed);
        let mut rows: Vec<R> = changed.map(|slot| slot.row).collect();
        rows.sort_unstable_by_key(Row::key);
        Changes { removed: self.removed.into_iter().map(|id| id.0).collect(), rows }
    }
}
