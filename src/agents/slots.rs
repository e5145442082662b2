//! Agent hosts in slots: systemd starts one when somebody connects to the slot's socket, as a user
//! and in a cgroup of its own, and ends all that is left of it once it has ended.
//!
//! Each connection is in the service manager's store before anything is said over it, so that hosts
//! outlive the daemon: the next one finds the connection under a name that says whose it is.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Read as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{fs::FileTypeExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::launch::{Launched, Launcher};
use crate::{
    app::ports::slots::Slots,
    fleet::{AgentId, Slot},
};

/// The end of the name of a slot's socket.
const SOCKET: &str = "sock";
/// How long a host that was hung up on may take to end before its slot is used again.
const END_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Where a slot's cgroup is while anything of its service is left.
const CGROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
/// The slice of the slots' services, as their unit names it.
const SLICE: &str = "fleet.slice/fleet-agents.slice";

/// Keeps descriptors for the next daemon.
pub trait Store: Send + Sync + 'static {
    /// Whether there is a store at all.
    fn is_there(&self) -> bool;

    /// Has a connection kept under this name: once this returns, it outlives the daemon. Blocks.
    ///
    /// # Errors
    /// When that can't be had.
    fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()>;

    /// Has what is kept under this name closed. Blocks.
    ///
    /// # Errors
    /// When that can't be had.
    fn forget(&self, name: &str) -> io::Result<()>;
}

/// The sockets of slots in a directory.
#[derive(Debug, Clone)]
pub struct SlotDir(PathBuf);

impl SlotDir {
    /// The slots whose sockets are here.
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    fn socket(&self, slot: &Slot) -> PathBuf {
        self.0.join(format!("{slot}.{SOCKET}"))
    }
}

impl Slots for SlotDir {
    fn all(&self) -> Result<Vec<Slot>, String> {
        const MEND: &str = "make them with `systemctl enable --now fleet-agents.target`";
        let shown = self.0.display();
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!(
                    "there are no slots for agents: `{shown}` does not exist; {MEND}"
                ));
            }
            Err(error) => return Err(format!("can't list the slots in `{shown}`: {error}")),
        };
        let slot = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_str()?.strip_suffix(SOCKET)?.strip_suffix('.')?;
            entry.file_type().ok()?.is_socket().then(|| Slot::new(name))?
        };
        let mut slots: Vec<Slot> = entries.filter_map(|entry| slot(entry.ok()?)).collect();
        slots.sort();
        if slots.is_empty() {
            return Err(format!("there are no slots for agents in `{shown}`; {MEND}"));
        }
        Ok(slots)
    }

    fn one_more(&self, present: &[Slot]) -> String {
        let next = present.iter().filter_map(Slot::number).max().unwrap_or(0) + 1;
        format!("systemctl enable --now fleet-agent@{next:02}.socket")
    }
}

/// Starts hosts by connecting to slots.
pub struct SlotLauncher {
    slots: SlotDir,
    store: Arc<dyn Store>,
    /// Connections that have outlived the former daemon and that nobody has claimed.
    kept: Mutex<BTreeMap<AgentId, Kept>>,
    /// Connections that nobody has claimed and that were hung up on: their hosts may still be ending.
    ending: Mutex<BTreeMap<Slot, UnixStream>>,
}

struct Kept {
    slot: Slot,
    stream: UnixStream,
}

/// The name that the connection of an agent is kept under.
fn name(slot: &Slot, agent: AgentId) -> String {
    format!("{PREFIX}{slot}-{}", agent.0)
}

const PREFIX: &str = "agent-";

fn parse(name: &str) -> Option<(Slot, AgentId)> {
    let (slot, agent) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((Slot::new(slot)?, AgentId(agent.parse().ok()?)))
}

impl SlotLauncher {
    /// A launcher for these slots. Takes the connections with agents' hosts out of the `inherited`
    /// descriptors.
    pub fn new(
        slots: SlotDir,
        store: Arc<dyn Store>,
        inherited: &mut Vec<(String, OwnedFd)>,
    ) -> Self {
        let mut kept = BTreeMap::new();
        let mut others = Vec::new();
        for (name, descriptor) in inherited.drain(..) {
            match parse(&name) {
                Some((slot, agent)) if !kept.contains_key(&agent) => {
                    kept.insert(agent, Kept { slot, stream: UnixStream::from(descriptor) });
                }
                _ => others.push((name, descriptor)),
            }
        }
        *inherited = others;
        Self { slots, store, kept: Mutex::new(kept), ending: Mutex::default() }
    }

    fn connect(&self, slot: &Slot) -> io::Result<UnixStream> {
        let path = self.slots.socket(slot);
        let failed = |error: &io::Error, what: &str| {
            let words = format!("can't connect to `{}`: {error}; {what}", path.display());
            io::Error::new(error.kind(), words)
        };
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => failed(
                &error,
                &format!("make the slot again with `systemctl start fleet-agent@{slot}.socket`"),
            ),
            ErrorKind::ConnectionRefused => failed(
                &error,
                &format!(
                    "`systemctl status fleet-agent@{slot}.socket` says why; mend it with \
                     `systemctl restart fleet-agent@{slot}.socket`"
                ),
            ),
            _ => failed(&error, "it must be owned by the daemon's user and have mode 0600"),
        })?;
        // Whoever listens there gets the agent's credentials.
        let listens = tokio::net::UnixStream::from_std(nonblocking(stream.try_clone()?)?)?;
        let listens = listens.peer_cred()?.uid();
        if listens != 0 && listens != geteuid().as_raw() {
            let words = format!("uid {listens} listens on `{}`", path.display());
            return Err(io::Error::new(ErrorKind::PermissionDenied, words));
        }
        Ok(stream)
    }

    /// Waits until the host that was hung up on has left its slot: it would turn the next one away.
    fn await_former(&self, slot: &Slot) -> io::Result<()> {
        let Some(mut former) = lock(&self.ending).remove(slot) else { return Ok(()) };
        former.set_nonblocking(false)?;
        former.set_read_timeout(Some(END_TIMEOUT))?;
        let mut unread = [0; 8 * 1024];
        loop {
            match former.read(&mut unread) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("the former host in slot {slot} does not end"),
                    ));
                }
                // It is gone, however.
                Err(_) => return Ok(()),
            }
        }
    }

    /// On an error the host is hung up on.
    fn launched(&self, slot: Slot, agent: AgentId, stream: UnixStream) -> io::Result<Launched> {
        let shared = self.share(&slot, agent, &stream);
        if shared.is_err() {
            self.hang_up(&slot, agent, &stream);
        }
        shared
    }

    fn share(&self, slot: &Slot, agent: AgentId, stream: &UnixStream) -> io::Result<Launched> {
        let stream = nonblocking(stream.try_clone()?)?;
        let watched = tokio::net::UnixStream::from_std(stream.try_clone()?)?;
        let gone = gone(watched, Arc::clone(&self.store), name(slot, agent), slot.clone());
        Ok(Launched { stream: tokio::net::UnixStream::from_std(stream)?, gone: Box::pin(gone) })
    }

    fn hang_up(&self, slot: &Slot, agent: AgentId, stream: &UnixStream) {
        // For all copies of the descriptor. An error says that the host is gone.
        let _ = stream.shutdown(Shutdown::Write);
        if let Err(error) = self.store.forget(&name(slot, agent)) {
            tracing::warn!(%slot, %error, "can't take a connection out of the store");
        }
    }
}

fn nonblocking(stream: UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps are whole after each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Launcher for SlotLauncher {
    fn launch(&self, agent: AgentId, slot: Option<&Slot>) -> io::Result<Launched> {
        let slot = slot.ok_or_else(|| {
            io::Error::other(
                "it was created before this daemon had slots, and ran as a child process; unset \
                 fleet.slots, or delete it and create it anew",
            )
        })?;
        self.await_former(slot)?;
        let stream = self.connect(slot)?;
        if let Err(error) = self.store.keep(&name(slot, agent), stream.as_fd()) {
            tracing::warn!(%agent, %error, "the agent will not outlive the daemon");
        }
        self.launched(slot.clone(), agent, stream)
    }

    fn outlive(&self) -> bool {
        self.store.is_there()
    }

    fn retake(&self, agent: AgentId) -> Option<Launched> {
        let Kept { slot, stream } = lock(&self.kept).remove(&agent)?;
        let launched = self.launched(slot, agent, stream);
        launched.inspect_err(|error| tracing::error!(%agent, %error, "its host is lost")).ok()
    }

    fn release_rest(&self) {
        let mut ending = lock(&self.ending);
        for (agent, Kept { slot, stream }) in std::mem::take(&mut *lock(&self.kept)) {
            tracing::warn!(%agent, %slot, "hung up on {agent} in slot {slot}: nobody claims it");
            self.hang_up(&slot, agent, &stream);
            ending.insert(slot, stream);
        }
    }
}

/// Hangs up for good, and waits until the host has ended and its cgroup is gone.
async fn gone(mut stream: tokio::net::UnixStream, store: Arc<dyn Store>, name: String, slot: Slot) {
    // For all copies of the descriptor. An error says that the host is gone.
    let _ = stream.shutdown().await;
    let forget = move || store.forget(&name);
    let forgotten = tokio::task::spawn_blocking(forget).await;
    if let Ok(Err(error)) = forgotten {
        tracing::warn!(%slot, %error, "can't take the agent's connection out of the store");
    }
    let mut unread = vec![0; 8 * 1024];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    // What a killed host leaves, systemd ends.
    let cgroup = format!("{SLICE}/fleet-agent@{slot}.service");
    let is_there = |root: &str| Path::new(root).join(&cgroup).exists();
    let give_up = Instant::now() + END_TIMEOUT;
    while CGROUPS.iter().any(|root| is_there(root)) {
        if give_up < Instant::now() {
            tracing::error!(%slot, "processes of the agent are left in its cgroup");
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
