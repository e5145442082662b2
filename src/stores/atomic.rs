//! Files written whole or not at all: a temporary file beside them, then a rename.
//!
//! A crash at any point leaves the old or the new file. The temporary file has a fixed name, so
//! what a crash leaves is found and removed by the next write.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Write as _,
    os::fd::OwnedFd,
};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{Mode, fchmod, fstat, fstatat},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

use super::{
    refusal::{failed, quoted, refused},
    safe_dir::SafeDir,
};
use crate::app::ports::StoreError;

/// `fsync` of a directory; tests bring one that fails.
type SyncDir = fn(&OwnedFd) -> nix::Result<()>;

impl SafeDir {
    /// Writes a new file, mode 0600, durably. Never replaces one.
    ///
    /// # Errors
    /// When there is something of this name, or the disk refuses; then nothing is left behind.
    pub(super) fn create(&self, name: &OsStr, content: &[u8]) -> Result<(), StoreError> {
        self.create_with(name, content, |dir| fsync(dir))
    }

    /// Replaces a file, mode 0600, durably and at once. `old` is what it holds now.
    ///
    /// # Errors
    /// When the disk refuses; then it holds `old`, or the help says that it does not.
    pub(super) fn replace(
        &self,
        name: &OsStr,
        content: &[u8],
        old: &[u8],
    ) -> Result<(), StoreError> {
        self.replace_with(name, content, old, |dir| fsync(dir))
    }

    fn create_with(&self, name: &OsStr, content: &[u8], sync: SyncDir) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let mut temp = Temporary::write(self, name, content)?;
        temp.rename_unless_exists(name).map_err(|e| {
            if e == Errno::EEXIST {
                let help = format!("look at it (`ls -l {}`), then start again", quoted(&path));
                return refused(format!("`{}` exists already", path.display()), help);
            }
            failed("create", &path, e)
        })?;
        temp.check_is_at(name)?;
        sync(&self.fd).map_err(|e| {
            // Not known to be on the disk, so nobody may rely on it.
            let _ = unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir);
            failed("create", &path, e)
        })
    }

    fn replace_with(
        &self,
        name: &OsStr,
        content: &[u8],
        old: &[u8],
        sync: SyncDir,
    ) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let mut temp = Temporary::write(self, name, content)?;
        temp.rename(name).map_err(|e| failed("replace", &path, e))?;
        temp.check_is_at(name)?;
        let Err(cause) = sync(&self.fd) else { return Ok(()) };
        // The rename may or may not outlive a crash, but the caller goes on with the old content.
        let restored = Temporary::write(self, name, old)
            .and_then(|mut temp| temp.rename(name).map_err(|e| failed("restore", &path, e)));
        let mut error = failed("make the change durable of", &path, cause);
        error.help = match restored {
            Ok(()) => format!("the file holds the old content again; {}", error.help),
            Err(e) => format!(
                "the file holds the NEW content, which is not in force, and {e}; try again; {}",
                error.help
            ),
        };
        Err(error)
    }
}

/// A file on its way to its name; removed on drop unless it got there.
struct Temporary<'a> {
    dir: &'a SafeDir,
    name: OsString,
    file: File,
    arrived: bool,
}

impl<'a> Temporary<'a> {
    fn write(dir: &'a SafeDir, target: &OsStr, content: &[u8]) -> Result<Self, StoreError> {
        let mut name = OsString::from(".");
        name.push(target);
        name.push(".new");
        let path = dir.path.join(&name);
        match unlinkat(&dir.fd, &*name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(failed("remove", &path, e)),
        }
        let how =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd =
            fcntl::openat(&dir.fd, &*name, how, mode).map_err(|e| failed("create", &path, e))?;
        let mut temp = Self { dir, name, file: File::from(fd), arrived: false };
        // A default ACL of the directory, or a strange umask, has a say in the mode at birth.
        fchmod(&temp.file, mode).map_err(|e| failed("set the mode of", &path, e))?;
        temp.file.write_all(content).map_err(|e| failed("write", &path, e))?;
        temp.file.sync_all().map_err(|e| failed("write", &path, e))?;
        temp.check_is_at(&temp.name)?;
        Ok(temp)
    }

    /// Two daemons with one token file but two state directories share no lock. Each may take the
    /// other's temporary file for a crash's, so what has the name may not be what we wrote.
    fn check_is_at(&self, name: &OsStr) -> Result<(), StoreError> {
        let path = self.dir.path.join(name);
        let ours = fstat(&self.file).map_err(|e| failed("look at", &path, e))?;
        match fstatat(&self.dir.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => Ok(()),
            _ => Err(refused(
                format!("another process writes `{}` at the same time", path.display()),
                "run one fleet-mcp for each token file, then try again",
            )),
        }
    }

    fn rename(&mut self, target: &OsStr) -> nix::Result<()> {
        fcntl::renameat(&self.dir.fd, &*self.name, &self.dir.fd, target)?;
        self.arrived = true;
        Ok(())
    }

    fn rename_unless_exists(&mut self, target: &OsStr) -> nix::Result<()> {
        match rename_noreplace(&self.dir.fd, &self.name, target) {
            // Not every file system can; then looking first must do.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                match fstatat(&self.dir.fd, target, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Err(Errno::ENOENT) => self.rename(target),
                    Ok(_) => Err(Errno::EEXIST),
                    Err(e) => Err(e),
                }
            }
            renamed => {
                self.arrived = renamed.is_ok();
                renamed
            }
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.arrived {
            let _ = unlinkat(&self.dir.fd, &*self.name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(target_env = "gnu")]
fn rename_noreplace(dir: &OwnedFd, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    fcntl::renameat2(dir, from, dir, to, fcntl::RenameFlags::RENAME_NOREPLACE)
}

/// nix has the call for glibc only.
#[cfg(not(target_env = "gnu"))]
fn rename_noreplace(_: &OwnedFd, _: &OsStr, _: &OsStr) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread};

    use super::super::safe_dir::{Upkeep, Whose};
    use super::*;

    const NAME: &str = "file";

    fn dir(path: &Path) -> SafeDir {
        SafeDir::open(path, Whose::Ours, Upkeep::Tighten).unwrap().unwrap()
    }

    fn entries(path: &Path) -> Vec<String> {
        let names = fs::read_dir(path).unwrap();
        names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn created_file_is_0600_and_alone() {
        let home = tempfile::tempdir().unwrap();

        dir(home.path()).create(NAME.as_ref(), b"new").unwrap();

        let file = home.path().join(NAME);
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(entries(home.path()), [NAME]);
    }

    #[test]
    fn create_never_replaces() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(NAME), "old").unwrap();

        let error = dir(home.path()).create(NAME.as_ref(), b"new").unwrap_err();

        assert!(error.what.ends_with("exists already"), "{error}");
        assert_eq!(fs::read(home.path().join(NAME)).unwrap(), b"old");
        assert_eq!(entries(home.path()), [NAME]);
    }

    #[test]
    fn what_a_crash_left_is_removed_by_the_next_write() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".file.new"), "half").unwrap();

        dir(home.path()).create(NAME.as_ref(), b"new").unwrap();

        assert_eq!(entries(home.path()), [NAME]);
    }

    #[test]
    fn created_file_that_is_not_durable_is_taken_back() {
        let home = tempfile::tempdir().unwrap();

        let error =
            dir(home.path()).create_with(NAME.as_ref(), b"new", |_| Err(Errno::EIO)).unwrap_err();

        assert!(error.help.contains("disk fails"), "{}", error.help);
        assert_eq!(entries(home.path()), Vec::<String>::new());
    }

    #[test]
    fn replacement_that_is_not_durable_is_undone() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(NAME), "old").unwrap();

        let error = dir(home.path())
            .replace_with(NAME.as_ref(), b"new", b"old", |_| Err(Errno::EIO))
            .unwrap_err();

        assert!(error.help.contains("holds the old content again"), "{}", error.help);
        assert_eq!(fs::read(home.path().join(NAME)).unwrap(), b"old");
        assert_eq!(entries(home.path()), [NAME]);
    }

    #[test]
    fn of_those_who_create_at_once_only_one_that_is_on_the_disk_succeeds() {
        for _ in 0..20 {
            let home = tempfile::tempdir().unwrap();
            let create = |content: u8| {
                let done = dir(home.path()).create(NAME.as_ref(), &[content; 4096]);
                done.is_ok().then_some(content)
            };

            let created: Vec<u8> = thread::scope(|scope| {
                let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || create(n))).collect();
                writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
            });

            assert!(created.len() <= 1, "{created:?}");
            if let [content] = created[..] {
                assert_eq!(fs::read(home.path().join(NAME)).unwrap(), [content; 4096]);
            }
        }
    }

    #[test]
    fn failed_rename_leaves_no_temporary_file() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(NAME)).unwrap();

        let error = dir(home.path()).replace(NAME.as_ref(), b"new", b"old").unwrap_err();

        assert!(error.what.starts_with("could not replace"), "{error}");
        assert_eq!(entries(home.path()), [NAME]);
    }
}
