//! The primary token's file.

mod format;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use self::format::Others;
pub(super) use self::format::{MAX_BYTES, parse};
use super::{
    refusal::{quoted, refused},
    safe_dir::{SafeDir, Upkeep, Whose, move_away},
};
use crate::{
    app::ports::{FileState, PrimaryToken, StoreError, TokenStore},
    auth::Digest,
};

/// The primary token in a JSON file: `{"value": "…", "created_at": "2025-11-11T10:30:00Z"}`.
///
/// The file is 0600 and ours, with no other name. Its directory is opened anew by each call, so
/// one that was moved away or restored while the daemon runs is noticed.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    whose: Whose,
}

/// The file as it is now.
struct Present {
    token: PrimaryToken,
    others: Others,
    bytes: Zeroizing<Vec<u8>>,
}

impl TokenFile {
    /// The file at `path`. Its directory's mode is ours to tighten only if that is `managed_dir`,
    /// the state directory.
    pub fn new(path: PathBuf, managed_dir: &Path) -> Self {
        let ours = path.parent() == Some(managed_dir);
        Self { path, whose: if ours { Whose::Ours } else { Whose::Shared } }
    }

    fn split(&self) -> Result<(&Path, &OsStr), StoreError> {
        match (self.path.parent(), self.path.file_name()) {
            (Some(dir), Some(name)) => Ok((dir, name)),
            _ => Err(refused(
                format!("`{}` does not name a file", self.path.display()),
                "set FLEET_MCP_AUTH_TOKEN_FILE to the path of a file",
            )),
        }
    }

    fn look(&self, upkeep: Upkeep) -> Result<Option<Present>, StoreError> {
        let (dir, name) = self.split()?;
        match SafeDir::open(dir, self.whose, upkeep)? {
            Some(dir) => self.read(&dir, name),
            None => Ok(None),
        }
    }

    fn read(&self, dir: &SafeDir, name: &OsStr) -> Result<Option<Present>, StoreError> {
        let Some(bytes) = dir.read(name, MAX_BYTES)? else { return Ok(None) };
        match format::parse(&bytes, &TimeZone::system()) {
            Ok((token, others)) => Ok(Some(Present { token, others, bytes })),
            Err(flaw) => Err(refused(
                format!("can't understand the token file `{}`: {flaw}", self.path.display()),
                format!(
                    "restore it, or move it away with `{}` and start again to get a new token",
                    move_away(&self.path)
                ),
            )),
        }
    }

    fn render(
        &self,
        token: &PrimaryToken,
        others: &Others,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        format::render(token, others).ok_or_else(|| {
            refused(
                format!("`{}` would be larger than {MAX_BYTES} bytes", self.path.display()),
                format!("remove members that are not the token's from {}", quoted(&self.path)),
            )
        })
    }
}

impl TokenStore for TokenFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Option<PrimaryToken>, StoreError> {
        Ok(self.look(Upkeep::Tighten)?.map(|present| present.token))
    }

    fn create(&self, token: &PrimaryToken) -> Result<(), StoreError> {
        let (dir, name) = self.split()?;
        let bytes = self.render(token, &Others::new())?;
        SafeDir::open_or_create(dir, self.whose, Upkeep::Tighten)?.create(name, &bytes)
    }

    fn replace(&self, token: &PrimaryToken) -> Result<(), StoreError> {
        let (dir, name) = self.split()?;
        let dir = SafeDir::open_again(dir, self.whose, Upkeep::Tighten)?;
        match self.read(&dir, name)? {
            Some(old) => dir.replace(name, &self.render(token, &old.others)?, &old.bytes),
            // Still never over a file: one that appears right now was not looked at.
            None => dir.create(name, &self.render(token, &Others::new())?),
        }
    }

    fn state(&self, in_force: &Digest) -> FileState {
        match self.look(Upkeep::Leave) {
            Ok(None) => FileState::Missing,
            Ok(Some(file)) if file.token.secret.digest() == *in_force => FileState::Current,
            Ok(Some(_)) => FileState::Differs,
            Err(error) => FileState::Unusable(error.in_one_line()),
        }
    }
}
