//! File locks, waited for with a deadline.
//!
//! The kernel drops such a lock when the last process that has the file open ends, so a lock can
//! never be stale, unlike a file with a process id in it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::error::{Doing, LocalError};

/// Takes the lock on `path`, which is created when missing. `None` when it is still held by
/// another after `patience`.
pub(crate) async fn take(path: &Path, patience: Duration) -> Result<Option<File>, LocalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .doing(|| format!("open {}", path.display()))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                sleep(Duration::from_millis(10)).await;
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(LocalError::Io { doing: format!("lock {}", path.display()), source });
            }
        }
    }
}
