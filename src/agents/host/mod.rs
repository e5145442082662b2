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
mod program;
mod run;
mod work;
mod workspace;

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
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

/// Becomes an agent's program: `PARENT WORKSPACE READABLE... -- PROGRAM ARGUMENT...`, restricted to
/// the workspace unless that is empty. Returns only if it can't.
pub fn exec(arguments: impl Iterator<Item = OsString>) -> io::Error {
    confine::exec(arguments)
}

/// Serves the connection that is this process's standard input, until it hangs up.
///
/// # Errors
/// When the kernel refuses something that it must not: nothing can be served then.
pub fn serve() -> io::Result<()> {
    // Credentials pass through this process.
    prctl::set_dumpable(false)?;
    prctl::set_child_subreaper(true)?;
    // Out of the daemon's session: what is typed at its terminal is not for agents, and the daemon
    // tells its own children from orphans of ours by it. Fails only for who leads one already.
    let _ = setsid();
    let connection = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    connection.set_nonblocking(true)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        run::Host::new(tokio::net::UnixStream::from_std(connection)?)?.run().await
    })
}
