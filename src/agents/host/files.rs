//! Directories and secrets of a workspace. The agent may have put links anywhere in it: none is
//! followed.

use std::{
    ffi::OsStr,
    fs, io,
    io::Write as _,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat, renameat},
    sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What a file is called until it is whole.
const NEW: &str = ".fleet-mcp.new";

/// Makes a directory 0700 if there is none.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match nix::unistd::mkdir(path, Mode::S_IRWXU) {
        Err(Errno::EEXIST) if fs::symlink_metadata(path)?.is_dir() => Ok(()),
        made => made.map_err(io::Error::from),
    }
}

/// Writes a file 0600 below `base`, making directories 0700 on the way. What is there is replaced.
pub(super) fn place(base: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let names: Vec<&OsStr> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below the home")),
        })
        .collect::<io::Result<_>>()?;
    let Some((name, above)) = names.split_last() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file name"));
    };
    let mut directory = open(base, DIRECTORY, Mode::empty())?;
    for part in above {
        directory = enter(&directory, part)?;
    }
    // A new file each time: the old one may have more names or an open reader. Killed at any moment,
    // we leave the old one or the new one.
    match unlinkat(&directory, NEW, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = openat(&directory, NEW, how | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
    fs::File::from(file).write_all(content)?;
    Ok(renameat(&directory, NEW, &directory, *name)?)
}

fn enter(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(directory, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{}` is a symbolic link", name.display()),
        ));
    }
    Ok(openat(directory, name, DIRECTORY, Mode::empty())?)
}

/// Removes a directory and all below it. Follows no link, and does not mind read-only directories,
/// such as package caches leave them.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn make_writable(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn credentials_are_0600_in_0700_and_replace_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".tool/login/key");

        place(home.path(), Path::new(".tool/login/key"), b"old").unwrap();
        place(home.path(), Path::new(".tool/login/key"), b"new").unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }

    #[test]
    fn a_file_that_is_replaced_is_whole_at_every_moment() {
        let home = tempfile::tempdir().unwrap();
        let replace = |content: &[u8]| place(home.path(), Path::new("key"), content).unwrap();
        replace(b"old");

        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (0..500).for_each(|_| {
                    replace(b"new");
                    replace(b"old");
                });
            });
            while !writer.is_finished() {
                let seen = fs::read(home.path().join("key")).unwrap();
                assert!(seen == b"old" || seen == b"new", "{seen:?}");
            }
        });
    }

    #[test]
    fn credentials_leave_the_home_neither_by_name_nor_by_link() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("key");
        fs::write(&target, "theirs").unwrap();
        symlink(outside.path(), home.path().join("away")).unwrap();
        symlink(&target, home.path().join("key")).unwrap();

        for path in ["../key", "/etc/key", "a/../../key", "away/key", "away/deep/key", ""] {
            assert!(place(home.path(), Path::new(path), b"ours").is_err(), "{path}");
        }
        place(home.path(), Path::new("key"), b"ours").unwrap();

        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        assert!(!home.path().join("key").is_symlink());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn removal_follows_no_link_and_minds_no_missing_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let base = tempfile::tempdir().unwrap();
        let place = base.path().join("agent");
        fs::create_dir_all(place.join("deep")).unwrap();
        symlink(outside.path(), place.join("deep/link")).unwrap();
        fs::set_permissions(place.join("deep"), fs::Permissions::from_mode(0o500)).unwrap();

        remove(&place).unwrap();
        remove(&place).unwrap();

        assert!(!place.exists() && outside.path().join("kept").exists());
    }
}
