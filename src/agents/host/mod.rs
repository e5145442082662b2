//! The agent host: a small process that prepares an agent's workspace, starts its program, relays its
//! streams and reports how it ended.
//!
//! It is the subreaper of all that the program starts, and ends all of it: when it is told to, when
//! the program ends, and when the daemon's connection hangs up.

mod confine;
mod environment;
pub mod exchange;
mod files;
pub mod frames;
mod git;
mod lines;
mod memory;
mod program;
mod run;
mod slot;
mod work;
mod workspace;

use std::{
    ffi::OsString,
    io,
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::{sys::prctl, unistd::setsid};

pub(crate) use self::environment::{inherited, may_set};
pub use self::{
    environment::MARKER,
    run::{MAX_WAITING_BYTES, MAX_WAITING_LINES},
    workspace::branch,
};

/// The word on the command line that makes this program an agent host.
pub const AGENT_HOST: &str = "agent-host";
/// The word on the command line that makes this program restrict itself and become another.
pub const AGENT_EXEC: &str = "agent-exec";

/// What keeps agents' programs in their workspaces on this machine: `landlock ABI 6`, or `none` and
/// why.
pub fn confinement() -> String {
    confine::in_force()
}

/// Finds a program as an agent's host does: a path as it is, a name on the search path.
pub fn find_program(program: &Path, search: &str) -> Option<PathBuf> {
    environment::find(program, search)
}

/// Becomes an agent's program: `PARENT WORKSPACE READABLE... -- PROGRAM ARGUMENT...`, restricted to
/// the workspace unless that is empty. Returns only if it can't.
pub fn exec(arguments: impl Iterator<Item = OsString>) -> io::Error {
    confine::exec(arguments)
}

/// Serves one connection until it hangs up: the first that comes to the socket of a slot, or the one
/// that is this process's standard input.
///
/// # Errors
/// When the kernel refuses something that it must not, or when somebody connects who may not:
/// nothing can be served then.
pub fn serve(slot: Option<UnixListener>) -> io::Result<()> {
    // Credentials pass through this process.
    prctl::set_dumpable(false)?;
    prctl::set_child_subreaper(true)?;
    // Out of the daemon's session: what is typed at its terminal is not for agents, and the daemon
    // tells its own children from orphans of ours by it. Fails only for who leads one already.
    let _ = setsid();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let _runtime = runtime.enter();
    let (connection, listener) = match slot {
        None => (UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?), None),
        Some(listener) => {
            let listener = slot::Slot::new(listener)?;
            (runtime.block_on(listener.connection())?, Some(listener))
        }
    };
    connection.set_nonblocking(true)?;
    // Hung up by the end of this process, and not before: the daemon knows by it that we are gone.
    let open = connection.try_clone()?;
    let connection = tokio::net::UnixStream::from_std(connection)?;
    let served = runtime.block_on(run::Host::new(connection, listener)?.run());
    drop(open);
    served
}
