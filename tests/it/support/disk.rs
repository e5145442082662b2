//! File systems of a test's own. They need root.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::stderr;

/// A small file system of its own, gone with the value.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn mount() -> Self {
        let disk = Self(TempDir::new().unwrap());
        mount(&["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"], disk.path());
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing fits; the file that takes the room.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut filler = File::create(&path).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

pub(crate) fn unmount(path: &Path) {
    let unmounted = Command::new("umount").arg("--lazy").arg(path).status();
    let is_gone = unmounted.is_ok_and(|status| status.success());
    assert!(is_gone || std::thread::panicking(), "can't unmount {}", path.display());
}

pub(crate) fn mount(options: &[&str], at: &Path) {
    let output = Command::new("mount").args(options).arg(at).output().unwrap();
    assert!(output.status.success(), "mount: {}", stderr(&output));
}
