//! Generated passwords, kept in the data folder for the owner's eyes only.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, chown},
    path::Path,
};

use crate::{
    error::{Doing, LocalError},
    identity::Identity,
};

/// Bytes from the kernel's random source.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], LocalError> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .doing(|| "read random bytes".into())?;
    Ok(bytes)
}

/// The password in `path`; made up and written there when the file does not exist. The file
/// belongs to `reader`, when the server runs as another user.
pub(crate) fn password(path: &Path, reader: Option<&Identity>) -> Result<String, LocalError> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).doing(|| format!("read {}", path.display()));
        }
        _ => {}
    }
    // Hex needs no escaping in a URL.
    let password = hex::encode(random_bytes::<24>()?);
    write_private(path, &password)?;
    if let Some(reader) = reader {
        chown(path, Some(reader.uid), Some(reader.gid))
            .doing(|| format!("give {} to user {}", path.display(), reader.name))?;
    }
    Ok(password)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), LocalError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .doing(|| format!("write {}", path.display()))
}
