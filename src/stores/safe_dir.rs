//! A directory that is opened once and checked, and files in it that are checked once open.
//!
//! All names are looked up relative to the open directory, so nobody who can rename a directory
//! above it can lead us elsewhere half-way. How files are written is in [`super::atomic`].

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat},
    unistd::{Uid, fsync, geteuid},
};
use zeroize::Zeroizing;

use super::refusal::{account, failed, quoted, refused};
use crate::app::ports::StoreError;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// `O_NONBLOCK`, because opening a named pipe would wait for a writer before we can look at it.
const GUARDED: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Whether a directory is there for us alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Ours: nobody else has any business in it.
    Ours,
    /// Somebody else's, such as `/etc`: it must be safe, but its mode is not ours to change.
    Shared,
}

/// What to do about the mode of something of ours that others can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Take the others' rights away, with a warning in the log.
    Tighten,
    /// Only look.
    Leave,
}

/// An open directory that only we, root or nobody can change the entries of.
#[derive(Debug)]
pub(super) struct SafeDir {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    upkeep: Upkeep,
}

impl SafeDir {
    /// Opens a directory; `None` if there is none.
    ///
    /// # Errors
    /// When it, or a directory above it, is not safe, or can't be opened.
    pub(super) fn open(
        path: &Path,
        whose: Whose,
        upkeep: Upkeep,
    ) -> Result<Option<Self>, StoreError> {
        let path = absolute(path)?;
        check_above(&path)?;
        match fcntl::open(&path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Self::check(fd, path, whose, upkeep).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(failed("open the directory", &path, e)),
        }
    }

    /// Opens a directory that was there before. One that is gone is not made anew: it may come back.
    ///
    /// # Errors
    /// As [`SafeDir::open`], and when it is gone.
    pub(super) fn open_again(
        path: &Path,
        whose: Whose,
        upkeep: Upkeep,
    ) -> Result<Self, StoreError> {
        Self::open(path, whose, upkeep)?.ok_or_else(|| {
            refused(
                format!("the directory `{}` is gone", path.display()),
                "put it back, then try again; or restart fleet-mcp, which makes a new one",
            )
        })
    }

    /// Opens a directory; makes it, and what is missing above it, with mode 0700.
    ///
    /// # Errors
    /// As [`SafeDir::open`], and when a directory can't be made.
    pub(super) fn open_or_create(
        path: &Path,
        whose: Whose,
        upkeep: Upkeep,
    ) -> Result<Self, StoreError> {
        if let Some(dir) = Self::open(path, whose, upkeep)? {
            return Ok(dir);
        }
        let path = absolute(path)?;
        Self::check(make(&path)?, path, whose, upkeep)
    }

    fn check(fd: OwnedFd, path: PathBuf, whose: Whose, upkeep: Upkeep) -> Result<Self, StoreError> {
        let stat = fstat(&fd).map_err(|e| failed("look at the directory", &path, e))?;
        let (owner, mode) = (Uid::from_raw(stat.st_uid), stat.st_mode & 0o7777);
        if owner != geteuid() && !(whose == Whose::Shared && owner.is_root()) {
            return Err(foreign("the directory ", owner, &path));
        }
        if whose == Whose::Shared && mode & 0o022 != 0 {
            return Err(refused(
                format!("others can write in the directory `{}` (mode {mode:04o})", path.display()),
                match mode & 0o1000 {
                    0 => format!("`chmod go-w {}`, or choose another directory", quoted(&path)),
                    // Such as `/tmp`, which is as it has to be.
                    _ => format!(
                        "choose another directory, or `chmod go-w {}` if nobody else needs it",
                        quoted(&path)
                    ),
                },
            ));
        }
        if whose == Whose::Ours && upkeep == Upkeep::Tighten && mode & 0o077 != 0 {
            let tight = mode & 0o700;
            fchmod(&fd, Mode::from_bits_truncate(tight))
                .map_err(|e| failed("tighten the mode of the directory", &path, e))?;
            tracing::warn!(
                path = %path.display(),
                "the directory `{}` was open to others (mode {mode:04o}), now it is {tight:04o}",
                path.display(),
            );
        }
        Ok(Self { fd, path, upkeep })
    }

    /// Opens a file, if it is a regular file of ours with a single name; `None` if there is none.
    ///
    /// # Errors
    /// When it is anything else, or can't be opened.
    pub(super) fn open_file(&self, name: &OsStr, how: OFlag) -> Result<Option<File>, StoreError> {
        let path = self.path.join(name);
        // Looked at before it is opened, for the words and because opening a device can act on
        // it. What counts is the second look, at what was opened.
        let mut readable = true;
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                check_file(&stat, &path)?;
                readable = stat.st_mode & 0o400 != 0;
            }
            Err(Errno::ENOENT) => {}
            Err(e) => return Err(failed("look at", &path, e)),
        }
        let fd = match fcntl::openat(&self.fd, name, how | GUARDED, Mode::from_bits_truncate(0o600))
        {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(e @ Errno::EACCES) if !readable => {
                let help = format!("`chmod 600 {}`", quoted(&path));
                return Err(StoreError { help, ..failed("read", &path, e) });
            }
            Err(e) => return Err(failed("open", &path, e)),
        };
        let stat = fstat(&fd).map_err(|e| failed("look at", &path, e))?;
        check_file(&stat, &path)?;
        if self.upkeep == Upkeep::Tighten {
            tighten_file(&fd, stat.st_mode & 0o7777, &path)?;
        }
        Ok(Some(File::from(fd)))
    }

    /// Reads a file whole; `None` if there is none. What was read is wiped on drop.
    ///
    /// # Errors
    /// As [`SafeDir::open_file`], and when it has more than `limit` bytes.
    pub(super) fn read(
        &self,
        name: &OsStr,
        limit: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some(mut file) = self.open_file(name, OFlag::O_RDONLY)? else { return Ok(None) };
        let path = self.path.join(name);
        let size = file.metadata().map_err(|e| failed("look at", &path, e))?.len();
        let room = limit.min(usize::try_from(size).unwrap_or(limit)) + 1;
        // Never grows: a buffer that moves leaves a copy of the secret behind.
        let mut bytes = Zeroizing::new(vec![0; room]);
        let mut len = 0;
        while len < bytes.len() {
            match file.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("read", &path, e)),
            }
        }
        if len > limit {
            return Err(refused(
                format!("`{}` is larger than {limit} bytes", path.display()),
                format!("it can't be ours: move it away with `{}`", move_away(&path)),
            ));
        }
        if len == room {
            return Err(refused(
                format!("`{}` grew while it was read", path.display()),
                "see who writes it, then try again",
            ));
        }
        bytes.truncate(len);
        Ok(Some(bytes))
    }
}

/// Makes a directory, or checks the one that is there, for something that only we may change.
///
/// One that is ours has its mode tightened, unless a link leads to it.
///
/// # Errors
/// When it belongs to somebody else, others can change it, or the system refuses.
pub fn prepare_dir(path: &Path, whose: Whose) -> Result<(), StoreError> {
    let whose = if path.is_symlink() { Whose::Shared } else { whose };
    SafeDir::open_or_create(path, whose, Upkeep::Tighten).map(drop)
}

/// The command that takes a file out of the way without losing it.
pub(super) fn move_away(path: &Path) -> String {
    let mut away = path.as_os_str().to_owned();
    away.push(".bad");
    format!("mv {} {}", quoted(path), quoted(Path::new(&away)))
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::path::absolute(path).map_err(|e| failed("find", path, e))
}

/// Refuses a directory that anyone may move away and put another in its place.
fn check_above(dir: &Path) -> Result<(), StoreError> {
    // Both as it is written and as it is once links are followed.
    let real = dir.ancestors().find_map(|part| fs::canonicalize(part).ok()).unwrap_or_default();
    for above in dir.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        // What can't be looked at can't be opened either, and that tells why.
        let Ok(meta) = fs::metadata(above) else { continue };
        let mode = meta.permissions().mode() & 0o7777;
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(refused(
                format!(
                    "anyone can replace `{}`, because the directory `{}` has mode {mode:04o}",
                    dir.display(),
                    above.display(),
                ),
                format!("`chmod o-w {}`", quoted(above)),
            ));
        }
    }
    Ok(())
}

/// Makes a directory and what is missing above it, durably; opens it.
fn make(dir: &Path) -> Result<OwnedFd, StoreError> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(failed("create the directory", dir, Errno::ENOENT));
    };
    let above = match fcntl::open(parent, DIRECTORY, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => make(parent)?,
        Err(e) => return Err(failed("open the directory", parent, e)),
    };
    match mkdirat(&above, name, Mode::S_IRWXU) {
        Ok(()) => fsync(&above).map_err(|e| failed("write the directory", parent, e))?,
        // Made by somebody else just now, or a link that leads nowhere: opening it tells.
        Err(Errno::EEXIST) => {}
        Err(e) => return Err(failed("create the directory", dir, e)),
    }
    fcntl::openat(&above, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
        .map_err(|e| failed("open the directory", dir, e))
}

fn check_file(stat: &FileStat, path: &Path) -> Result<(), StoreError> {
    let shown = path.display();
    let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => None,
        SFlag::S_IFLNK => {
            return Err(refused(
                format!("`{shown}` is a symbolic link"),
                "put the file itself there, or name the file that the link points to".to_owned(),
            ));
        }
        SFlag::S_IFDIR => Some("a directory"),
        SFlag::S_IFIFO => Some("a named pipe"),
        SFlag::S_IFSOCK => Some("a socket"),
        _ => Some("a device"),
    };
    if let Some(kind) = kind {
        return Err(refused(
            format!("`{shown}` is {kind}, not a regular file"),
            format!("name another file, or move it away with `{}`", move_away(path)),
        ));
    }
    let owner = Uid::from_raw(stat.st_uid);
    if owner != geteuid() {
        return Err(foreign("", owner, path));
    }
    // None at all: it was replaced while we had it open, which is no harm.
    if stat.st_nlink > 1 {
        let file = quoted(path);
        return Err(refused(
            format!("`{shown}` has {} names (hard links)", stat.st_nlink),
            format!("make it a file of its own: `cp -p {file} {file}.own && mv {file}.own {file}`"),
        ));
    }
    Ok(())
}

fn foreign(kind: &str, owner: Uid, path: &Path) -> StoreError {
    let (owner, me) = (account(owner), account(geteuid()));
    refused(
        format!("{kind}`{}` belongs to `{owner}`, and fleet-mcp runs as `{me}`", path.display()),
        format!("`chown {me} {}`, or run fleet-mcp as `{owner}`", quoted(path)),
    )
}

fn tighten_file(fd: &OwnedFd, mode: u32, path: &Path) -> Result<(), StoreError> {
    if mode & 0o177 == 0 {
        return Ok(());
    }
    let tight = mode & 0o600;
    fchmod(fd, Mode::from_bits_truncate(tight))
        .map_err(|e| failed("tighten the mode of", path, e))?;
    tracing::warn!(
        path = %path.display(),
        "`{}` was open to others (mode {mode:04o}), now it is {tight:04o}; \
         if anyone may have read a token in it, rotate that token",
        path.display(),
    );
    Ok(())
}
