//! What SQLite reports, in words for the operator.

use std::{io, path::Path};

use nix::errno::Errno;
use rusqlite::ErrorCode;

use crate::{
    app::ports::StoreError,
    stores::{
        refusal::{failed, quoted, refused},
        safe_dir::move_away,
    },
};

/// Something that SQLite could not do. Can be told to several callers.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// `None` if SQLite did it, but what came of it makes no sense.
    code: Option<ErrorCode>,
    text: String,
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self { code: error.sqlite_error_code(), text: error.to_string() }
    }
}

impl Trouble {
    /// Whether the next call may well succeed: it is this one that can't be made.
    pub(super) fn is_the_calls_own(&self) -> bool {
        use ErrorCode::{ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
        matches!(
            self.code,
            None | Some(ConstraintViolation | ParameterOutOfRange | TooBig | TypeMismatch)
        )
    }

    /// The words for it.
    pub(super) fn words(&self, path: &Path) -> StoreError {
        use ErrorCode as Code;
        let disk = |action: &str, errno: Errno| StoreError {
            source: Some(io::Error::other(self.text.clone())),
            ..failed(action, path, errno)
        };
        match self.code {
            Some(Code::DiskFull) => disk("write", Errno::ENOSPC),
            Some(Code::ReadOnly) => disk("write", Errno::EROFS),
            Some(Code::SystemIoFailure) => disk("read or write", Errno::EIO),
            Some(Code::CannotOpen | Code::PermissionDenied) => disk("open", Errno::EACCES),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => locked(path),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) | None => damaged(path, &self.text),
            Some(_) => StoreError {
                source: Some(io::Error::other(self.text.clone())),
                ..refused(
                    format!("could not use the database `{}`", path.display()),
                    "try again; if it stays so, it is a bug: report it with this message",
                )
            },
        }
    }
}

fn locked(path: &Path) -> StoreError {
    refused(
        format!("another process has locked the database `{}`", path.display()),
        format!("`fuser -v {}` shows it: end it, then try again", quoted(path)),
    )
}

/// It can't be understood.
pub(super) fn damaged(path: &Path, found: &str) -> StoreError {
    // `quick_check` tells in lines.
    let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
    refused(
        format!("the database `{}` is damaged: {found}", path.display()),
        format!(
            "stop fleet-mcp and restore it with its `-wal` file from a backup, or save what can be \
             read with `sqlite3 {} .recover`, or move it away with `{}` to start without agents",
            quoted(path),
            move_away(path),
        ),
    )
}

/// The log beside it, which has what was not brought into it yet.
pub(super) fn damaged_log(path: &Path, wal: &Path, found: &str) -> StoreError {
    refused(
        format!("the log `{}` of the fleet's database is damaged: {found}", wal.display()),
        format!(
            "restore it and `{}` from a backup, or save what can be read with \
             `sqlite3 {} .recover`, or move it away with `{}` to go on without what only it has",
            path.display(),
            quoted(path),
            move_away(wal),
        ),
    )
}

/// It was moved away, or replaced, while it is open.
pub(super) fn away(path: &Path) -> StoreError {
    refused(
        format!("the database `{}` is gone, or another file has its place", path.display()),
        "put back what was there; or restart fleet-mcp, which goes on with what is there now",
    )
}

/// It belongs to another program.
pub(super) fn foreign(path: &Path) -> StoreError {
    refused(
        format!("`{}` is the database of another program", path.display()),
        format!(
            "move it away with `{}`, or give fleet-mcp its own FLEET_MCP_STATE_DIR",
            move_away(path)
        ),
    )
}

/// A later fleet-mcp has written it.
pub(super) fn newer(path: &Path, version: usize, known: usize) -> StoreError {
    refused(
        format!(
            "the database `{}` has version {version}, and this fleet-mcp knows versions up to \
             {known}",
            path.display()
        ),
        "run the fleet-mcp that wrote it, or a later one, or restore the backup from before the \
         upgrade",
    )
}
