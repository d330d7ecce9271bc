//! Bounds on waits for the database. It has limits of its own for what it is asked, but a
//! connection may be dead without anybody saying so. (What goes through the store's pool is bounded
//! there; these are for connections of one's own.)

use std::time::Duration;

/// How long a batch may take.
pub(crate) const BATCH: Duration = Duration::from_secs(10);
/// How long the search for an event that the database refuses may take.
pub(crate) const CAREFUL: Duration = Duration::from_secs(60);
/// How long a page of a rebuild may take.
pub(crate) const REBUILD: Duration = Duration::from_secs(600);
