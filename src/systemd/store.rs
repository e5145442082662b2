//! Descriptors that outlive the daemon: the service manager keeps them, and hands them to the next
//! one. By name; what a descriptor is, it says itself.

use std::{
    io::{self, ErrorKind, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use sd_notify::NotifyState;

/// How long the manager may take to say that it has heard us.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest name that the manager takes.
const MAX_NAME: usize = 255;

/// Descriptors that this process was started with, by name.
pub type Inherited = Vec<(String, OwnedFd)>;

/// The descriptors that this process was started with, by name, out of the reach of children.
///
/// To be called once, before anything else may have taken their numbers. The variables stay: no
/// program that we start inherits our environment.
///
/// # Errors
/// When the variables name what is not there.
pub fn inherited() -> io::Result<Inherited> {
    let named = sd_notify::listen_fds_with_names()?;
    #[expect(unsafe_code, reason = "numbers in the environment are all that there is")]
    let own = |fd| {
        // SAFETY: it is open, which `listen_fds_with_names` has checked, and by the protocol ours;
        // nobody else in this process knows its number, and this is called once.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    Ok(named.map(|(fd, name)| (name, own(fd))).collect())
}

/// Has a descriptor kept under this name: once this returns, it outlives us. Blocks until the
/// manager has heard of it. Without a manager nothing is kept.
///
/// It is kept until [`forget`], also after its other end has closed: there may be something left to
/// read.
///
/// # Errors
/// When the manager can't be told.
pub fn keep(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    debug_assert!(is_name(name), "{name}");
    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&states, &[descriptor])?;
    barrier()
}

/// Has what is kept under this name closed. Blocks until the manager has heard of it.
///
/// # Errors
/// When the manager can't be told.
pub fn forget(name: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])?;
    barrier()
}

/// Waits until the manager has dealt with all that it was told: it closes what comes with this.
fn barrier() -> io::Result<()> {
    if !super::notify::is_supervised() {
        return Ok(());
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(BARRIER_TIMEOUT))?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    match ours.read(&mut [0]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::new(
            ErrorKind::TimedOut,
            format!("the service manager did not answer within {} s", BARRIER_TIMEOUT.as_secs()),
        )),
        Err(error) => Err(error),
    }
}

/// Whether the manager takes this for a name: printable ASCII without colons.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(fits)
}
