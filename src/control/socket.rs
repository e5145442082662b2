//! The control socket's file: 0600 in a 0700 directory, right from birth.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers on it.
    #[error("another daemon already listens on `{0}`")]
    InUse(PathBuf),
    /// Something else has its name.
    #[error("`{0}` is there and is no socket")]
    NotASocket(PathBuf),
    /// Others could get at it.
    #[error("the directory `{path}` of the control socket {why}")]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
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

/// Opens the socket. Replaces one that nobody listens on; never one that somebody does. To be
/// called with the state directory locked.
///
/// The socket is made under a private name, gets its mode, and only then its own: there is no
/// moment at which it can be reached with another mode, whatever the umask.
///
/// # Errors
/// When the name is taken, the directory is open to others, or the system refuses.
pub async fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    prepare_directory(path)?;
    if is_there(path)? && UnixStream::connect(path).await.is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    let unborn = private_name(path);
    if is_there(&unborn)? {
        remove(&unborn).map_err(io)?;
    }
    let listener = UnixListener::bind(&unborn).map_err(io)?;
    fs::set_permissions(&unborn, fs::Permissions::from_mode(0o600)).map_err(io)?;
    fs::rename(&unborn, path).map_err(io)?;
    Ok(listener)
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
fn private_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().as_bytes().to_owned();
    if let Some(last) = name.last_mut() {
        *last = if *last == b'~' { b'#' } else { b'~' };
    }
    path.with_file_name(OsString::from_vec(name))
}

/// Removes the socket's file, at the end of the daemon.
pub fn unlink(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(%error, "can't remove the control socket `{}`", path.display());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the directory, or tightens ours; refuses one in which others could replace the socket.
fn prepare_directory(socket: &Path) -> Result<(), SocketError> {
    let path = socket.parent().unwrap_or(Path::new("/"));
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
    let found = fs::metadata(path).map_err(io)?;
    let own_uid = nix::unistd::geteuid().as_raw();
    let exposed = |why| Err(SocketError::Exposed { path: path.to_owned(), why });
    if found.uid() != own_uid {
        return exposed("belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        tracing::warn!("tightened the mode of `{}` to 0700", path.display());
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io)?;
    }
    Ok(())
}
