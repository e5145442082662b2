//! The daemon's state directory, which belongs to one daemon at a time.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag};

use super::{
    refusal::{failed, refused},
    safe_dir::{SafeDir, Upkeep, Whose},
};
use crate::app::ports::StoreError;

/// The lock's file. Never removed: a daemon that waits for an unlinked file's lock waits alone.
const LOCK: &str = "lock";

/// A state directory, ours and 0700, that no other daemon can open while this value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Ends with the process, however that ends.
    lock: File,
}

/// Why the state directory can't be had. Both carry the words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another daemon has it: `Exit::Unavailable`.
    #[error(transparent)]
    InUse(StoreError),
    /// It is not safe, or the operating system refuses it.
    #[error(transparent)]
    Unusable(#[from] StoreError),
}

impl StateDirError {
    /// The words, whichever it is.
    pub fn into_words(self) -> StoreError {
        match self {
            Self::InUse(words) | Self::Unusable(words) => words,
        }
    }
}

impl StateDir {
    /// Takes the state directory; makes it, and what is missing above it, with mode 0700.
    ///
    /// Tightens a looser mode, with a warning in the log.
    ///
    /// # Errors
    /// When another daemon has it, it belongs to another user, anyone could replace it, or the
    /// disk refuses.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let dir = SafeDir::open_or_create(path, Whose::Ours, Upkeep::Tighten)?;
        let lock_path = dir.path.join(LOCK);
        let mut lock = dir
            .open_file(LOCK.as_ref(), OFlag::O_RDWR | OFlag::O_CREAT)?
            .ok_or_else(|| failed("open", &lock_path, Errno::ENOENT))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::InUse(in_use(&dir.path, holder(&mut lock))));
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock", &lock_path, e).into()),
        }
        if let Err(error) = name_holder(&mut lock) {
            // The lock holds without it; only the other daemon's message is poorer.
            tracing::warn!(%error, "could not write the process id to `{}`", lock_path.display());
        }
        Ok(Self { path: dir.path, lock })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started still has a copy.
        let _ = self.lock.unlock();
    }
}

fn name_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn in_use(dir: &Path, pid: Option<u32>) -> StoreError {
    let (who, command) = match pid {
        Some(pid) => (format!(" (process {pid})"), format!("`ps {pid}` shows it")),
        None => (String::new(), "`pgrep -a fleet-mcp` shows it".to_owned()),
    };
    refused(
        format!("another fleet-mcp{who} runs on the state directory `{}`", dir.display()),
        format!("{command}: stop it first, or give this one its own FLEET_MCP_STATE_DIR"),
    )
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
        process::Command,
    };

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Its mode depends on no umask.
    fn home() -> TempDir {
        let home = tempfile::tempdir().unwrap();
        set_mode(home.path(), 0o700);
        home
    }

    #[test]
    fn missing_directories_are_made_0700() {
        let home = home();
        let path = home.path().join("a/b/state");

        let state = StateDir::open(&path).unwrap();

        assert_eq!(state.path(), path);
        for made in [home.path().join("a"), home.path().join("a/b"), path.clone()] {
            assert_eq!(mode(&made), 0o700, "{}", made.display());
        }
        assert_eq!(mode(&path.join(LOCK)), 0o600);
    }

    /// The umask belongs to the process, so each is tried in a process of its own.
    #[test]
    fn no_umask_makes_them_looser() {
        let this = std::env::current_exe().unwrap();
        for umask in ["000", "022", "077"] {
            let run = Command::new("sh")
                .args(["-c", r#"umask "$1"; exec "$2" --exact "$3""#, "sh", umask])
                .arg(&this)
                .arg("stores::state_dir::tests::missing_directories_are_made_0700")
                .output()
                .unwrap();

            let shown = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success() && shown.contains("1 passed"), "{umask}: {shown}");
        }
    }

    #[test]
    fn second_daemon_is_told_who_has_it() {
        let home = home();
        let first = StateDir::open(home.path()).unwrap();

        let error = StateDir::open(home.path()).unwrap_err();

        assert!(matches!(error, StateDirError::InUse(_)), "{error:?}");
        let who = format!("another fleet-mcp (process {})", std::process::id());
        assert!(error.to_string().starts_with(&who), "{error}");
        drop(first);
        StateDir::open(home.path()).unwrap();
        assert!(home.path().join(LOCK).exists());
    }

    #[test]
    fn a_longer_process_id_of_a_former_daemon_does_not_shine_through() {
        let home = home();
        fs::write(home.path().join(LOCK), "4194304000\n").unwrap();

        let _state = StateDir::open(home.path()).unwrap();

        let pid = fs::read_to_string(home.path().join(LOCK)).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
    }

    #[test]
    fn looser_modes_are_tightened() {
        let home = home();
        for loose in [0o755, 0o777, 0o750, 0o701] {
            set_mode(home.path(), loose);

            StateDir::open(home.path()).unwrap();

            assert_eq!(mode(home.path()), 0o700, "from {loose:04o}");
        }
    }

    #[test]
    fn directory_that_anyone_can_replace_is_refused() {
        let home = home();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        set_mode(&open, 0o777);

        for path in [open.join("state"), open.join("deeper/state")] {
            let error = StateDir::open(&path).unwrap_err();

            assert!(matches!(&error, StateDirError::Unusable(_)), "{error:?}");
            assert!(error.into_words().help.starts_with("`chmod o-w "));
            assert_eq!(fs::read_dir(&open).unwrap().count(), 0, "made something");
        }
        set_mode(&open, 0o1777);
        StateDir::open(&open.join("state")).unwrap();
    }

    #[test]
    fn another_users_directory_is_refused() {
        let home = home();
        if std::os::unix::fs::chown(home.path(), Some(12345), None).is_err() {
            return; // only root can give a directory away
        }

        let words = StateDir::open(home.path()).unwrap_err().into_words();

        assert!(words.what.contains("belongs to `12345`"), "{words}");
        assert!(words.help.starts_with("`chown "), "{}", words.help);
    }

    #[test]
    fn link_to_a_directory_is_followed_but_a_dangling_one_is_not_filled() {
        let home = home();
        fs::create_dir(home.path().join("private")).unwrap();
        // `DynamicUser=` makes such a link.
        symlink("private", home.path().join("state")).unwrap();
        symlink("nowhere", home.path().join("dangling")).unwrap();

        StateDir::open(&home.path().join("state")).unwrap();
        let error = StateDir::open(&home.path().join("dangling")).unwrap_err();

        assert!(error.to_string().starts_with("could not open the directory"), "{error}");
        assert!(!home.path().join("nowhere").exists());
    }

    #[test]
    fn lock_that_is_a_link_is_refused() {
        let home = home();
        fs::write(home.path().join("precious"), "kept").unwrap();
        symlink("precious", home.path().join(LOCK)).unwrap();

        let error = StateDir::open(home.path()).unwrap_err();

        assert!(error.to_string().ends_with("is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(home.path().join("precious")).unwrap(), "kept");
    }
}
