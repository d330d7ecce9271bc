//! Small helpers over the file system: folders for the owner only, log files.

use std::{
    fs::{self, File, Permissions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::{
    command::last_lines,
    error::{Doing, LocalError},
};

const LOG_LIMIT: u64 = 16 * 1024 * 1024;
const TAIL_LINES: usize = 12;

/// Creates `folder` and what is missing above it.
pub(crate) fn create(folder: &Path) -> Result<(), LocalError> {
    fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))
}

/// Creates `folder` for this process's user alone.
pub(crate) fn create_private(folder: &Path) -> Result<(), LocalError> {
    create(folder)?;
    set_mode(folder, 0o700)
}

/// Sets the permission bits of `path`.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), LocalError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .doing(|| format!("set the permissions of {}", path.display()))
}

/// Removes `folder` and everything in it; a missing one is fine.
pub(crate) fn remove(folder: &Path) -> Result<(), LocalError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Keeps a log from growing for ever: a big one becomes `<name>.1` in place of the last such.
/// Returns where the next line will stand.
pub(crate) fn rotate_log(log: &Path) -> Result<u64, LocalError> {
    let length = fs::metadata(log).map_or(0, |meta| meta.len());
    if length <= LOG_LIMIT {
        return Ok(length);
    }
    fs::rename(log, log.with_extension("log.1")).doing(|| format!("rename {}", log.display()))?;
    Ok(0)
}

/// The last lines of `log` from byte `start` on, for an error message.
pub(crate) fn log_tail(log: &Path, start: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log)
        .and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file))
        .and_then(|file| file.take(LOG_LIMIT).read_to_end(&mut bytes));
    match read {
        Ok(0) | Err(_) => "(nothing)".to_owned(),
        Ok(_) => last_lines(&String::from_utf8_lossy(&bytes), TAIL_LINES),
    }
}
