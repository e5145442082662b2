//! How an agent host is started: as a child process ([`super::child`]), or by systemd
//! ([`super::slots`]).

use std::{io, pin::Pin};

use tokio::net::UnixStream;

use crate::fleet::{AgentId, Slot};

/// Starts agent hosts.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a host for an agent: in its slot, if it has one. May block for as long as starting a
    /// process takes. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses, or when the agent lives where this launcher starts none.
    fn launch(&self, agent: AgentId, slot: Option<&Slot>) -> io::Result<Launched>;

    /// Whether hosts outlive the daemon: their connections are kept where the next one finds them.
    fn outlive(&self) -> bool {
        false
    }

    /// The host of this agent that has outlived the former daemon, if there is one: to be asked once,
    /// before anything is launched for this agent. To be called within a tokio runtime.
    fn retake(&self, _agent: AgentId) -> Option<Launched> {
        None
    }

    /// Hangs up on hosts that have outlived the former daemon and that nobody has retaken.
    fn release_rest(&self) {}
}

/// A host that was started.
pub struct Launched {
    /// The connection with it. It ends itself, and its agent, once this hangs up: is shut down for
    /// writing, of which other copies of the descriptor don't keep it, or closed for good.
    pub stream: UnixStream,
    /// Ready once neither the host nor anything that it had started is left, however it ended, and
    /// the connection is kept nowhere any more. Waited for after hanging up; dropped without that
    /// when the daemon ends and its hosts don't.
    pub gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for Launched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launched").field("stream", &self.stream).finish_non_exhaustive()
    }
}
