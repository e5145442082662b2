//! Looks at the database without touching it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{
    file, schema,
    words::{self, Trouble},
};
use crate::app::ports::StoreError;

/// Up to this size all of it is read: a few seconds.
const MAX_CHECKED_BYTES: u64 = 512 * 1024 * 1024;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// It is whole.
    Sound,
    /// There is none yet.
    Missing,
    /// It was not looked at, and why.
    NotLooked(&'static str),
}

/// Reads the whole database and checks it. Blocks on the disk.
///
/// # Errors
/// When it is damaged, of another program or of a later version, or can't be read.
pub fn examine(state_dir: &Path, is_in_use: bool) -> Result<Examined, StoreError> {
    let path = state_dir.join(file::NAME);
    let wal = path.with_file_name(file::WAL);
    let size = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
    if size(&path) == 0 {
        return Ok(Examined::Missing);
    }
    if size(&path) > MAX_CHECKED_BYTES {
        return Ok(Examined::NotLooked("it is larger than 512 MiB, which would take long"));
    }
    if !is_in_use && size(&wal) > 0 {
        return Ok(Examined::NotLooked(
            "the next start must first complete what a crash broke off",
        ));
    }
    let tell = |e: rusqlite::Error| Trouble::from(e).words(&path);
    let db = if is_in_use { file::reader(&path) } else { at_rest(&path) }.map_err(tell)?;
    if schema::look(&db).map_err(tell)? == schema::Found::Foreign {
        return Err(words::foreign(&path));
    }
    let version = schema::version(&db).map_err(tell)?;
    if version > schema::STEPS.len() {
        return Err(words::newer(&path, version, schema::STEPS.len()));
    }
    let found: String =
        db.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(tell)?;
    if found == "ok" { Ok(Examined::Sound) } else { Err(words::damaged(&path, &found)) }
}

/// Nobody writes it, so that it can be read without making files beside it.
fn at_rest(path: &Path) -> rusqlite::Result<Connection> {
    let path = path.to_string_lossy();
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}
