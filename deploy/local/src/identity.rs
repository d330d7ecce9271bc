//! The user that runs Postgres when this process is root.
//!
//! Postgres refuses to run as root. The user is the owner of existing data, so that data stays
//! usable whoever made it, else `postgres`, else `nobody`.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use crate::error::{Doing, LocalError};

const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Another user than the one this process runs as.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whom to run Postgres as; `None` means as this process is.
pub(crate) fn for_postgres(existing_data: &Path) -> Result<Option<Identity>, LocalError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if let Some(owner) = owner_of(existing_data) {
        return Ok(Some(owner));
    }
    let users = fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".into())?;
    CANDIDATES.iter().find_map(|name| in_passwd(&users, name)).map(Some).ok_or(LocalError::NoUser)
}

fn owner_of(path: &Path) -> Option<Identity> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.uid() != 0)?;
    Some(Identity { name: format!("with id {}", meta.uid()), uid: meta.uid(), gid: meta.gid() })
}

fn in_passwd(users: &str, name: &str) -> Option<Identity> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (found && uid != 0).then(|| Identity { name: name.to_owned(), uid, gid })
    })
}

impl Identity {
    /// Makes `command` run as this user.
    pub(crate) fn apply(&self, command: &mut Command) {
        // The standard library also drops root's supplementary groups here.
        command.uid(self.uid).gid(self.gid);
    }

    /// Whether this user may enter `path` and every folder above it, by their permission bits.
    pub(crate) fn may_enter(&self, path: &Path) -> bool {
        let Ok(real) = fs::canonicalize(path) else {
            return false;
        };
        real.ancestors().all(|folder| self.may_pass(folder))
    }

    fn may_pass(&self, folder: &Path) -> bool {
        let Ok(meta) = fs::metadata(folder) else {
            return false;
        };
        let bit = if meta.uid() == self.uid {
            0o100
        } else if meta.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        meta.mode() & bit != 0
    }

    /// Gives `folder` to this user alone.
    pub(crate) fn own(&self, folder: &Path) -> Result<(), LocalError> {
        chown(folder, Some(self.uid), Some(self.gid))
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
            .doing(|| format!("give {} to user {}", folder.display(), self.name))
    }

    /// Lets this user pass through `folder`, which is ours, without letting it list the files.
    pub(crate) fn let_through(&self, folder: &Path) -> Result<(), LocalError> {
        let doing = || format!("let user {} pass through {}", self.name, folder.display());
        let mode = fs::metadata(folder).doing(doing)?.mode() & 0o7777;
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o111)).doing(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_passwd_lines() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:a b,,,:/var:/bin/sh\n";
        let found = in_passwd(users, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert!(in_passwd(users, "nobody").is_none());
        assert!(in_passwd(users, "root").is_none());
    }
}
