//! How an agent host is started. As a child process ([`super::child`]), or, later, by systemd.

use std::{io, pin::Pin};

use tokio::net::UnixStream;

use crate::fleet::AgentId;

/// Starts agent hosts.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a host for an agent. May block for as long as starting a process takes. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn launch(&self, agent: AgentId) -> io::Result<Launched>;
}

/// A host that was started.
pub struct Launched {
    /// The connection with it. It ends itself, and its agent, once this hangs up.
    pub stream: UnixStream,
    /// Ready once neither the host nor anything that it had started is left, however it ended.
    pub gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for Launched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launched").field("stream", &self.stream).finish_non_exhaustive()
    }
}
