//! Folders for tests, which leave nothing behind.
//!
//! A folder goes when it is dropped. A test run that is killed, or that keeps its servers in a
//! static, drops nothing: so each new folder first sweeps out the ones that nobody uses any more.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    error::{Doing, LocalError},
    files, identity,
};

const PREFIX: &str = "colloquy-temporary-";
const IN_USE: &str = "in-use.lock";
/// The locks of the folder's user and of the servers in it.
const LOCKS: [&str; 3] = [IN_USE, "postgres/server.lock", "nats/server.lock"];
/// A folder this young may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(120);

/// A folder for a test's servers, deleted when dropped or, failing that, by a later run.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: TempDir,
    _in_use: File,
}

impl TemporaryFolder {
    /// Creates a folder in a place which the user that runs Postgres can reach.
    ///
    /// # Errors
    /// When no place for temporary files can be written.
    pub fn new() -> Result<Self, LocalError> {
        let place = place()?;
        sweep(&place);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&place)
            .doing(|| format!("create a folder in {}", place.display()))?;
        let path = folder.path().join(IN_USE);
        let in_use = File::create(&path)
            .and_then(|file| file.lock().map(|()| file))
            .doing(|| format!("lock {}", path.display()))?;
        Ok(Self { folder, _in_use: in_use })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn place() -> Result<PathBuf, LocalError> {
    let identity = identity::for_postgres(Path::new(""))?;
    let usual = std::env::temp_dir();
    let places = [usual.clone(), "/tmp".into(), "/var/tmp".into()];
    let reachable = |place: &PathBuf| identity.as_ref().is_none_or(|user| user.may_enter(place));
    Ok(places.into_iter().find(reachable).unwrap_or(usual))
}

/// Deletes folders that nobody uses. What cannot be deleted, like another user's, stays.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if ours && is_abandoned(&entry.path()) {
            let _ = files::remove(&entry.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    let age = fs::symlink_metadata(folder).and_then(|meta| meta.modified());
    let young = age.map_or(true, |time| time.elapsed().is_ok_and(|age| age < YOUNG));
    !young && !LOCKS.iter().any(|name| is_locked(&folder.join(name)))
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_err())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn make_old(folder: &Path) {
        File::open(folder).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_new_folder_sweeps_out_what_nobody_uses() {
        let used = TemporaryFolder::new().unwrap();
        make_old(used.path());
        let young = TempDir::with_prefix_in(PREFIX, used.path().parent().unwrap()).unwrap();
        let abandoned = TempDir::with_prefix_in(PREFIX, used.path().parent().unwrap()).unwrap();
        fs::create_dir(abandoned.path().join("postgres")).unwrap();
        let server = File::create(abandoned.path().join("postgres/server.lock")).unwrap();
        server.lock().unwrap();
        make_old(abandoned.path());

        drop(TemporaryFolder::new().unwrap());
        assert!(abandoned.path().exists(), "a server still runs in it");
        drop(server);
        drop(TemporaryFolder::new().unwrap());
        assert!(!abandoned.path().exists());
        assert!(young.path().exists() && used.path().exists());
    }
}
