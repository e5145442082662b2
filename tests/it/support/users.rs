//! Which user a test runs as: root ignores modes, so tests of them run as nobody.

use super::{Builder, TestDaemon};

/// The user `nobody`, who owns nothing.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A daemon that modes count for: as nobody if the tests run as root, else as whoever runs them.
pub(crate) fn unprivileged() -> Builder {
    let builder = TestDaemon::builder();
    if is_root() { builder.uid(NOBODY) } else { builder }
}

/// Whether a test that needs root has to be left out; says so.
pub(crate) fn left_out_without_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("LEFT OUT, needs root: {what}");
    }
    !is_root()
}
