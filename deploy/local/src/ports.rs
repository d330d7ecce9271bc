//! Free loopback ports.
//!
//! They come from below the range that the kernel hands to outgoing connections. A port in that
//! range may be taken by any client socket while its server is down, and a restart on the same
//! port would then fail at random.

use std::net::{Ipv4Addr, TcpListener};

use crate::{
    error::{Doing, LocalError},
    secret,
};

const FIRST: u16 = 18_000;
const COUNT: u16 = 12_000;
const TRIES: usize = 64;

/// A port nobody listens on just now. Somebody may take it before the server does: the caller
/// tries again then.
pub(crate) fn free() -> Result<u16, LocalError> {
    for _ in 0..TRIES {
        let port = FIRST + u16::from_be_bytes(secret::random_bytes()?) % COUNT;
        if is_free(port) {
            return Ok(port);
        }
    }
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(|| "find a free port".into())?;
    Ok(listener.local_addr().doing(|| "find a free port".into())?.port())
}

/// Whether a server could listen on `port` now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
