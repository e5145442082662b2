//! The control socket's file: 0600 right from birth. Its directory is looked after by `stores`.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 128;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers on it.
    #[error("another daemon already listens on `{0}`")]
    InUse(PathBuf),
    /// Something else has its name.
    #[error("`{0}` is there and is no socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("can't listen on the control socket `{path}`")]
    Io {
        /// The socket or its directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The control socket, open, and its file.
#[derive(Debug)]
pub struct Bound {
    /// Where clients come in.
    pub listener: UnixListener,
    /// To be removed at the end.
    pub file: SocketFile,
}

/// The file of our socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Opens the socket. Replaces one that nobody listens on; never one that somebody does. To be
/// called with the state directory locked, and in a directory that nobody else can write.
///
/// The socket is made under a private name with its mode, and only then gets its own: there is no
/// moment at which it can be reached with another mode, whatever the umask.
///
/// # Errors
/// When the name is taken, or the system refuses.
pub async fn bind(path: &Path) -> Result<Bound, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    if is_there(path)? && is_live(path).await {
        return Err(SocketError::InUse(path.to_owned()));
    }
    let unborn = private_name(path);
    if is_there(&unborn)? {
        remove(&unborn).map_err(io)?;
    }
    let socket = UnixSocket::new_stream().map_err(io)?;
    // Linux gives the file the mode that the socket has.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| io(errno.into()))?;
    socket.bind(&unborn).map_err(io)?;
    fs::set_permissions(&unborn, fs::Permissions::from_mode(0o600)).map_err(io)?;
    let identity = identity(&unborn).map_err(io)?;
    let listener = socket.listen(BACKLOG).map_err(io)?;
    fs::rename(&unborn, path).map_err(io)?;
    Ok(Bound { listener, file: SocketFile { path: path.to_owned(), identity } })
}

/// Whether somebody listens on a socket. Only a refused connection says that nobody does: a busy
/// daemon's queue may be full.
async fn is_live(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
    }
}

/// Whether there is a socket of this name.
fn is_there(path: &Path) -> Result<bool, SocketError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(true),
        Ok(_) => Err(SocketError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(SocketError::Io { path: path.to_owned(), source }),
    }
}

/// A name beside the socket's, and no longer: that may be as long as a socket's path can be.
pub fn private_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().as_bytes().to_owned();
    if let Some(last) = name.last_mut() {
        *last = if *last == b'~' { b'#' } else { b'~' };
    }
    path.with_file_name(OsString::from_vec(name))
}

impl SocketFile {
    /// Removes the file, at the end of the daemon, unless another one has its name by now.
    pub fn unlink(self) {
        let Self { path, identity: ours } = self;
        if identity(&path).is_ok_and(|found| found != ours) {
            return;
        }
        if let Err(error) = remove(&path) {
            tracing::warn!(%error, "can't remove the control socket `{}`", path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_with_a_full_queue_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let _deaf = socket.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }

        let bound = bind(&path).await;

        assert!(matches!(bound, Err(SocketError::InUse(_))), "{bound:?}");
    }

    #[tokio::test]
    async fn only_our_own_file_is_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = bind(&path).await.unwrap();
        drop(first.listener);
        let second = bind(&path).await.unwrap();

        first.file.unlink();
        assert!(UnixStream::connect(&path).await.is_ok());
        second.file.unlink();

        assert!(!path.exists());
    }
}
