//! The database's files: looked at before SQLite touches them, then opened.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{errno::Errno, fcntl::OFlag, unistd::fsync};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    schema::{self, Found},
    wal,
    words::{self, Trouble},
};
use crate::{
    app::ports::StoreError,
    stores::{
        refusal::{failed, quoted, refused},
        safe_dir::{SafeDir, Upkeep, Whose},
    },
};

pub(super) const NAME: &str = "fleet.db";
pub(super) const WAL: &str = "fleet.db-wal";
/// What SQLite puts beside it, with the mode of the database itself.
const BESIDE: [&str; 3] = [WAL, "fleet.db-shm", "fleet.db-journal"];

/// For whoever looks into the database with a tool: no second daemon can have it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Up to this size the whole database is checked at the start: about 1 ms a MiB.
const MAX_CHECKED_BYTES: u64 = 4 * 1024 * 1024;

/// Where the database is, with nothing there that is not ours.
#[derive(Debug)]
pub(super) struct Location {
    /// Without symbolic links.
    pub(super) path: PathBuf,
    bytes: u64,
    /// Of the log beside it, which has what a crash kept from the database.
    wal_bytes: u64,
}

impl Location {
    /// Looks at the files and tightens their modes; makes an empty one, 0600, if there is none.
    pub(super) fn check(state_dir: &Path) -> Result<Self, StoreError> {
        let dir = SafeDir::open_or_create(state_dir, Whose::Ours, Upkeep::Tighten)?;
        // The directory may be a link (`DynamicUser=` makes such), a part of the file's path not.
        let real = fs::canonicalize(&dir.path).map_err(|e| failed("find", &dir.path, e))?;
        let path = real.join(NAME);
        for name in BESIDE {
            dir.open_file(name.as_ref(), OFlag::O_RDWR)?;
        }
        let (bytes, wal_bytes) = (size(&dir, NAME)?, size(&dir, WAL)?.unwrap_or(0));
        if bytes.unwrap_or(0) == 0 && wal_bytes > 0 {
            return Err(torn(&path));
        }
        if bytes.is_none() {
            dir.open_file(NAME.as_ref(), OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL)?
                .ok_or_else(|| failed("create", &path, Errno::ENOENT))?;
            fsync(&dir.fd).map_err(|e| failed("create", &path, e))?;
        }
        Ok(Self { path, bytes: bytes.unwrap_or(0), wal_bytes })
    }
}

/// Opens the connection that writes and brings the database up to date. What can't be used is
/// not changed.
pub(super) fn open(location: &Location, steps: &[&str]) -> Result<Connection, StoreError> {
    let path = &location.path;
    let tell = |e: rusqlite::Error| Trouble::from(e).words(path);
    check_log(location)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(tell)?;
    // Until we know that it is ours, closing it writes nothing back either.
    let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keep, true).map_err(tell)?;
    match schema::look(&connection).map_err(tell)? {
        Found::Empty | Found::Ours => {}
        Found::Foreign => return Err(words::foreign(path)),
    }
    let version = schema::version(&connection).map_err(tell)?;
    if version > steps.len() {
        return Err(words::newer(path, version, steps.len()));
    }
    check_whole(&connection, location)?;
    connection.set_db_config(keep, false).map_err(tell)?;
    set_up(&connection, path)?;
    schema::migrate(&mut connection, steps).map_err(tell)?;
    Ok(connection)
}

/// SQLite would go on without what is behind the damage.
fn check_log(location: &Location) -> Result<(), StoreError> {
    if location.wal_bytes == 0 {
        return Ok(());
    }
    let wal = location.path.with_file_name(WAL);
    match wal::find_damage(&wal).map_err(|e| failed("read", &wal, e))? {
        None => Ok(()),
        Some(found) => Err(words::damaged_log(&location.path, &wal, found)),
    }
}

/// Opens a connection that can only read.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path, how: OpenFlags) -> rusqlite::Result<Connection> {
    let guarded = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, how | guarded)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Rolled back savepoints need no file in a directory that may be anyone's.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The file's content decides nothing but data: no function of a crafted schema runs.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Every commit is on the disk before it is answered: in WAL mode that takes `FULL`.
fn set_up(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let tell = |e: rusqlite::Error| Trouble::from(e).words(path);
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(tell)?;
    if mode != "wal" {
        return Err(refused(
            format!("the file system of `{}` can't hold a database in WAL mode", path.display()),
            "set FLEET_MCP_STATE_DIR to a directory on a local disk",
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(tell)?;
    // A burst leaves a long one behind otherwise, for good.
    connection
        .pragma_update_and_check(None, "journal_size_limit", 16 * 1024 * 1024, |_| Ok(()))
        .map_err(tell)
}

/// A large one is not read whole: what is damaged in it is told by the read that meets it.
fn check_whole(connection: &Connection, location: &Location) -> Result<(), StoreError> {
    let path = &location.path;
    let tell = |e: rusqlite::Error| Trouble::from(e).words(path);
    let page: u32 =
        connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(tell)?;
    // SQLite reads what is missing of a page as zeros. A log can still replace such a page.
    if location.wal_bytes == 0 && !location.bytes.is_multiple_of(u64::from(page)) {
        return Err(words::damaged(path, "its end is missing"));
    }
    if location.bytes > MAX_CHECKED_BYTES {
        return Ok(());
    }
    let check = "PRAGMA quick_check(1)";
    let found: String = connection.query_row(check, (), |row| row.get(0)).map_err(tell)?;
    if found == "ok" { Ok(()) } else { Err(words::damaged(path, &found)) }
}

fn size(dir: &SafeDir, name: &str) -> Result<Option<u64>, StoreError> {
    let Some(file) = dir.open_file(OsStr::new(name), OFlag::O_RDWR)? else { return Ok(None) };
    let meta = file.metadata().map_err(|e| failed("look at", &dir.path.join(name), e))?;
    Ok(Some(meta.len()))
}

/// SQLite would take the database for new and delete the log that belongs to it.
fn torn(path: &Path) -> StoreError {
    let wal = path.with_file_name(WAL);
    refused(
        format!("`{}` is missing or empty, but `{}` is not", path.display(), wal.display()),
        format!("restore both from one backup, or `rm {}` to start without agents", quoted(&wal)),
    )
}
