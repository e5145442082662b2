//! Where the daemon's control socket is, if nobody says so.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::config::{self, Flags, Sources};

/// The system service's socket.
pub(super) const SYSTEM: &str = "/run/fleet-mcp/control.sock";

/// The socket that was named; else that of the daemon that this user would start, if there is one;
/// else the system service's. For root the system's comes first.
pub(super) fn find(named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return named.to_owned();
    }
    let system = PathBuf::from(SYSTEM);
    let own = Sources::of_process(Flags::default())
        .ok()
        .and_then(|sources| config::control_socket(&sources));
    let mut candidates: Vec<_> = own.into_iter().chain([system]).collect();
    if nix::unistd::geteuid().is_root() {
        candidates.reverse();
    }
    let first = candidates[0].clone();
    candidates.into_iter().find(|path| may_exist(path)).unwrap_or(first)
}

/// A directory that we may not look into may well hold it; trying tells more than giving up.
fn may_exist(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}
