//! The socket of a slot: systemd starts a host when somebody connects to it, and hands it the socket
//! itself. The first connection is the one; others are turned away while it lasts.

use std::{
    io,
    ops::RangeInclusive,
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{net::UnixListener, time::timeout};

/// How long the connection that we were started for may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The users that systemd makes up for services with `DynamicUser=`: agents' among them.
const DYNAMIC_USERS: RangeInclusive<u32> = 61184..=65519;

/// Who may connect, besides root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// The owner of the socket's file.
    Owner(u32),
    /// The file is hidden from us, and with us from the agent. Whom its mode lets in the kernel sees
    /// to; it is no agent for sure.
    NoAgent,
}

impl Allowed {
    fn has(self, peer: u32, own: u32) -> bool {
        match self {
            _ if peer == 0 => true,
            Self::Owner(owner) => peer == owner,
            Self::NoAgent => peer != own && !DYNAMIC_USERS.contains(&peer),
        }
    }
}

/// A slot's socket, listening.
pub(super) struct Slot {
    listener: UnixListener,
    allowed: Allowed,
}

impl Slot {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// When it is no socket of a slot.
    pub(super) fn new(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        let path = listener.local_addr()?.as_pathname().map(PathBuf::from);
        let path = path.ok_or_else(|| io::Error::other("the slot's socket has no path"))?;
        let allowed = match path.metadata() {
            Ok(file) => Allowed::Owner(file.uid()),
            Err(_) => Allowed::NoAgent,
        };
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, allowed })
    }

    /// The connection to serve.
    pub(super) async fn connection(&self) -> io::Result<UnixStream> {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.map_err(|_| io::Error::other("nobody has connected"))??;
        let peer = stream.peer_cred()?.uid();
        if !self.allowed.has(peer, geteuid().as_raw()) {
            let words = format!("uid {peer} has connected, which may not");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
        }
        stream.into_std()
    }

    /// Turns the next one away. Cancel-safe.
    pub(super) async fn turn_away(&self) -> io::Result<()> {
        self.listener.accept().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_agent_may_connect_to_a_slot() {
        let (daemon, agent, own) = (996, 63896, 62186);

        for allowed in [Allowed::Owner(daemon), Allowed::NoAgent] {
            assert!(allowed.has(0, own) && allowed.has(daemon, own), "{allowed:?}");
            assert!(!allowed.has(agent, own) && !allowed.has(own, own), "{allowed:?}");
        }
        assert!(!Allowed::Owner(daemon).has(1000, own));
    }
}
