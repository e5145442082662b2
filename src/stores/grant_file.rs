//! The named tokens' file.

mod format;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

use self::format::Flaw;
use super::{
    refusal::refused,
    safe_dir::{SafeDir, Upkeep, Whose, move_away},
};
use crate::{
    app::ports::{FileState, Grant, GrantStore, StoreError},
    auth::Digest,
};

/// Its name in the state directory.
const NAME: &str = "tokens.json";

/// Named tokens in a JSON file, 0600 and ours, in the state directory.
///
/// It is only replaced while it is what was last read or written here: who edits it, or restores it,
/// while the daemon runs, loses nothing.
#[derive(Debug)]
pub struct GrantFile {
    dir: PathBuf,
    path: PathBuf,
    /// Of what the file holds, as far as this daemon knows; `None` is no file.
    known: Mutex<Option<Digest>>,
}

impl GrantFile {
    /// The file in this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned(), path: state_dir.join(NAME), known: Mutex::default() }
    }

    fn read(&self, upkeep: Upkeep) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match SafeDir::open(&self.dir, Whose::Ours, upkeep)? {
            Some(dir) => dir.read(NAME.as_ref(), format::MAX_BYTES),
            None => Ok(None),
        }
    }

    fn parse(&self, content: &[u8]) -> Result<Vec<Grant>, StoreError> {
        format::parse(content).map_err(|flaw| {
            let shown = self.path.display();
            let help = match flaw {
                Flaw::Newer(_) => "run the fleet-mcp that wrote it, or a later one".to_owned(),
                _ => format!(
                    "restore it, or move it away with `{}`: then no named token counts",
                    move_away(&self.path)
                ),
            };
            refused(format!("can't understand the tokens in `{shown}`: {flaw}"), help)
        })
    }

    fn remember(&self, content: Option<&[u8]>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = content.map(Digest::of);
    }

    fn is_known(&self, content: &[u8]) -> bool {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known == Some(Digest::of(content))
    }
}

impl GrantStore for GrantFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Option<Vec<Grant>>, StoreError> {
        let content = self.read(Upkeep::Tighten)?;
        let grants = content.as_ref().map(|bytes| self.parse(bytes)).transpose()?;
        self.remember(content.as_ref().map(|bytes| bytes.as_slice()));
        Ok(grants)
    }

    fn save(&self, grants: &[Grant]) -> Result<(), StoreError> {
        let dir = SafeDir::open_again(&self.dir, Whose::Ours, Upkeep::Tighten)?;
        let content = format::render(grants);
        if content.len() > format::MAX_BYTES {
            return Err(refused(
                format!(
                    "`{}` would be larger than {} bytes",
                    self.path.display(),
                    format::MAX_BYTES
                ),
                "revoke tokens that nobody uses",
            ));
        }
        match dir.read(NAME.as_ref(), format::MAX_BYTES)? {
            Some(old) if self.is_known(&old) => dir.replace(NAME.as_ref(), &content, &old)?,
            Some(_) => {
                return Err(refused(
                    format!("`{}` was changed by somebody else", self.path.display()),
                    "`fleetctl reload` takes it over as it is now; then try again",
                ));
            }
            None => dir.create(NAME.as_ref(), &content)?,
        }
        self.remember(Some(&content));
        Ok(())
    }

    fn state(&self) -> FileState {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match self.read(Upkeep::Leave) {
            Ok(present) if present.as_ref().map(|bytes| Digest::of(bytes)) == known => {
                FileState::Current
            }
            Ok(None) => FileState::Missing,
            Ok(Some(other)) => match self.parse(&other) {
                Ok(_) => FileState::Differs,
                Err(error) => FileState::Unusable(error.in_one_line()),
            },
            Err(error) => FileState::Unusable(error.in_one_line()),
        }
    }
}
