//! Where the Postgres data goes.
//!
//! It belongs in `postgres/` inside the given folder. As root that may not do: the checkout is
//! often under `/root`, which the user that runs Postgres may not enter, and opening up a home is
//! not ours to do. The data then goes to a new folder under `/var/lib/colloquy`, and `postgres` in
//! the given folder is a link to it. Moving the given folder keeps the data, deleting it starts
//! afresh.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    error::{Doing, LocalError},
    files,
    identity::Identity,
};

/// The name of the Postgres part inside a data folder.
pub(crate) const POSTGRES: &str = "postgres";
/// Places that survive a reboot and that any user can reach, the better one first.
const SHARED: [&str; 2] = ["/var/lib/colloquy", "/var/tmp/colloquy"];

/// The folder for everything of Postgres: created, and owned by the user that runs it.
pub(crate) fn postgres_home(
    folder: &Path,
    identity: Option<&Identity>,
) -> Result<PathBuf, LocalError> {
    files::create(folder)?;
    let folder = fs::canonicalize(folder).doing(|| format!("find {}", folder.display()))?;
    let home = folder.join(POSTGRES);
    let Some(identity) = identity else {
        files::create_private(&home)?;
        return Ok(home);
    };
    if let Ok(target) = fs::read_link(&home) {
        if target.is_dir() {
            return Ok(target);
        }
        tracing::warn!(target = %target.display(), "the Postgres data is gone; starting empty");
        fs::remove_file(&home).doing(|| format!("remove the link {}", home.display()))?;
    }
    if folder.parent().is_none_or(|above| identity.may_enter(above)) {
        identity.let_through(&folder)?;
        files::create(&home)?;
        identity.own(&home)?;
        return Ok(home);
    }
    relocate(&home, identity)
}

fn relocate(home: &Path, identity: &Identity) -> Result<PathBuf, LocalError> {
    let shared = shared_folder(&SHARED.map(PathBuf::from), identity)?;
    let target = tempfile::Builder::new()
        .prefix("postgres-")
        .tempdir_in(&shared)
        .doing(|| format!("create a folder in {}", shared.display()))?
        .keep();
    identity.own(&target)?;
    symlink(&target, home).doing(|| format!("create the link {}", home.display()))?;
    tracing::info!(
        data = %target.display(),
        "user {} cannot enter {}, so the Postgres data is kept elsewhere",
        identity.name,
        home.parent().unwrap_or(home).display(),
    );
    Ok(target)
}

/// The first of `places` that is ours alone to write, and that `identity` can enter.
pub(crate) fn shared_folder(
    places: &[PathBuf],
    identity: &Identity,
) -> Result<PathBuf, LocalError> {
    let usable = |place: &&PathBuf| {
        let created = fs::symlink_metadata(place).is_ok()
            || (files::create(place).is_ok() && files::set_mode(place, 0o755).is_ok());
        created && is_ours(place) && identity.may_enter(place)
    };
    places.iter().find(usable).cloned().ok_or_else(|| LocalError::OutOfReach {
        user: identity.name.clone(),
        tried: places
            .iter()
            .map(|place| place.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Guards against a folder that somebody else put into a place open to all.
fn is_ours(place: &Path) -> bool {
    fs::symlink_metadata(place).is_ok_and(|meta| {
        meta.is_dir()
            && meta.uid() == rustix::process::geteuid().as_raw()
            && meta.mode() & 0o022 == 0
    })
}
