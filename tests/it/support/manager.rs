//! What systemd does for the daemon: it hears how it is, keeps its descriptors while it restarts, and
//! starts an agent's host when the daemon connects to a slot.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tempfile::TempDir;

use super::{PATIENCE, program::example, slots::Slots};

/// How often threads look whether they are still wanted.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Most descriptors in a message: the kernel's limit.
const MAX_DESCRIPTORS: usize = 253;

/// A service manager for one daemon after the other.
pub(crate) struct Manager {
    store: Arc<Store>,
    /// What the daemon says of its state.
    said: Mutex<Receiver<Vec<String>>>,
    slots: Slots,
    socket: PathBuf,
    /// Hosts run in it until they are ended.
    _home: Arc<TempDir>,
}

#[derive(Default)]
struct Store {
    kept: Mutex<Vec<(String, OwnedFd)>>,
    /// The newest `STATUS=`.
    status: Mutex<String>,
    watchdog: Mutex<u64>,
}

impl Manager {
    /// With this many slots, whose sockets are in `slots` below the home directory.
    #[expect(clippy::disallowed_methods, reason = "nothing is held up if nobody reads on")]
    pub(super) fn new(home: Arc<TempDir>, slots: usize) -> Self {
        let socket = home.path().join("notify");
        let listener = UnixDatagram::bind(&socket).unwrap();
        listener.set_read_timeout(Some(LOOK_AGAIN)).unwrap();
        let store = Arc::<Store>::default();
        let (say, said) = channel();
        let weak = Arc::downgrade(&store);
        std::thread::spawn(move || hear(&listener, &weak, &say));
        let slots = Slots::new(home.path(), slots);
        Self { store, said: Mutex::new(said), slots, socket, _home: home }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The next thing that the daemon says of its state, by lines; not of descriptors, no sign of life,
    /// and no mere status.
    pub(crate) fn next(&self) -> Vec<String> {
        self.said.lock().unwrap().recv_timeout(PATIENCE).expect("a message")
    }

    /// Nothing more was said.
    pub(crate) fn is_silent(&self) -> bool {
        self.said.lock().unwrap().try_recv().is_err()
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self) -> String {
        self.store.status.lock().unwrap().clone()
    }

    /// How many signs of life there were.
    pub(crate) fn signs_of_life(&self) -> u64 {
        *self.store.watchdog.lock().unwrap()
    }

    /// The names of the descriptors that are kept.
    pub(crate) fn kept(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.store.kept.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Keeps a descriptor as if the daemon had asked for it.
    pub(crate) fn keep(&self, name: &str, descriptor: OwnedFd) {
        self.store.kept.lock().unwrap().push((name.to_owned(), descriptor));
    }

    /// What a stop that is no restart does, once the daemon has ended.
    pub(crate) fn forget(&self) {
        self.store.kept.lock().unwrap().clear();
    }

    /// How a program is started with what is kept. `command` starts `activated`.
    pub(super) fn give(&self, command: &mut Command) {
        let kept = self.store.kept.lock().unwrap();
        let descriptors: Vec<_> =
            kept.iter().map(|(name, fd)| (name.as_str(), fd.as_fd())).collect();
        give(command, &descriptors);
    }
}

/// The program that becomes another one with descriptors.
pub(super) fn activated() -> PathBuf {
    example("activated")
}

/// Sends descriptors to the `activated` that this command starts.
pub(super) fn give(command: &mut Command, descriptors: &[(&str, BorrowedFd<'_>)]) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let names: Vec<_> = descriptors.iter().map(|(name, _)| *name).collect();
    let names = format!("{}\n", names.join(":"));
    let descriptors: Vec<_> = descriptors.iter().map(|(_, descriptor)| *descriptor).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let parts = [IoSlice::new(names.as_bytes())];
    sendmsg(&ours, &parts, &mut ancillary, SendFlags::empty()).unwrap();
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
}

fn hear(listener: &UnixDatagram, store: &Weak<Store>, say: &Sender<Vec<String>>) {
    loop {
        let message = receive(listener);
        let Some(store) = store.upgrade() else { return };
        match message {
            Ok((lines, descriptors)) => store.hear(lines, descriptors, say),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the notification socket: {error}"),
        }
    }
}

fn receive(listener: &UnixDatagram) -> io::Result<(Vec<String>, Vec<OwnedFd>)> {
    let mut message = [0; 8 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg(listener, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = part {
            descriptors.extend(more);
        }
    }
    let lines = String::from_utf8(message[..received.bytes].to_vec()).unwrap();
    Ok((lines.lines().map(str::to_owned).collect(), descriptors))
}

impl Store {
    fn hear(&self, lines: Vec<String>, descriptors: Vec<OwnedFd>, say: &Sender<Vec<String>>) {
        let value = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
        if let Some(status) = value("STATUS=") {
            *self.status.lock().unwrap() = status.to_owned();
        }
        let says = |line: &str| lines.iter().any(|said| said == line);
        if says("FDSTORE=1") {
            // Else systemd drops it as soon as its other end closes.
            assert!(says("FDPOLL=0"), "{lines:?}");
            let name = value("FDNAME=").expect("a name");
            let fits = name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            assert!(fits, "{name}");
            for descriptor in descriptors {
                self.kept.lock().unwrap().push((name.to_owned(), descriptor));
            }
        } else if says("FDSTOREREMOVE=1") {
            let name = value("FDNAME=").expect("a name");
            self.kept.lock().unwrap().retain(|(known, _)| known != name);
        } else if says("BARRIER=1") {
            assert_eq!((lines.len(), descriptors.len()), (1, 1), "{lines:?}");
        } else if says("WATCHDOG=1") {
            *self.watchdog.lock().unwrap() += 1;
        } else if lines.len() > 1 || value("STATUS=").is_none() {
            // Nobody may be interested.
            let _ = say.send(lines);
        }
    }
}
