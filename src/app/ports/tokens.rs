//! Where tokens outlive the daemon.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

use super::StoreError;
use crate::auth::{Digest, Generation, Secret, Source, Token};

/// The primary token as its file holds it.
#[derive(Debug, Clone)]
pub struct PrimaryToken {
    /// The plain secret.
    pub secret: Secret,
    /// When it was issued.
    pub created_at: Timestamp,
}

/// How the primary token's file looks compared with the token in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It holds the token that is in force.
    Current,
    /// It was deleted: the next start makes a new token.
    Missing,
    /// It holds another token: the next start takes that one.
    Differs,
    /// It can't be read or understood: the next start will stop at it.
    Unusable(String),
}

/// Where the primary token outlives the daemon. All calls block on the disk.
pub trait TokenStore: Send + Sync + 'static {
    /// The file's path, for people.
    fn path(&self) -> &Path;

    /// Reads the token; `None` if there is no file.
    ///
    /// Tightens the mode of a file that is ours, with a warning in the log.
    ///
    /// # Errors
    /// When the file or its directory is not safe to use, or can't be read or understood.
    fn load(&self) -> Result<Option<PrimaryToken>, StoreError>;

    /// Writes the first token, durably; never replaces a file.
    ///
    /// # Errors
    /// When there is a file already, or the disk refuses; then nothing was left behind.
    fn create(&self, token: &PrimaryToken) -> Result<(), StoreError>;

    /// Replaces the token, durably and at once: after a crash the file holds the old or the new
    /// one, whole. Writes it anew if the file was deleted. Keeps members that it does not know.
    ///
    /// # Errors
    /// When the present file can't be understood, or the disk refuses; then the old file is still
    /// there.
    fn replace(&self, token: &PrimaryToken) -> Result<(), StoreError>;

    /// Compares the file with the token in force. Changes nothing.
    fn state(&self, in_force: &Digest) -> FileState;
}

/// A token as it outlives the daemon: what it allows, and its secrets by their digests. Of the
/// primary token it holds what its own file has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token.
    pub token: Arc<Token>,
    /// Its secrets, newest first. Each is of this token.
    pub secrets: Vec<(Generation, Use)>,
}

/// How a secret was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// How many requests it let in.
    pub requests: u64,
    /// When the last one came, to the second.
    pub last: Option<Timestamp>,
    /// Where that one came from.
    pub from: Option<Source>,
}

/// Where named tokens outlive the daemon. All calls block on the disk.
pub trait GrantStore: Send + Sync + 'static {
    /// The file's path, for people.
    fn path(&self) -> &Path;

    /// Reads all tokens; `None` if there is no file.
    ///
    /// # Errors
    /// When the file or its directory is not safe to use, can't be read or understood, or is of a
    /// later version.
    fn load(&self) -> Result<Option<Vec<Grant>>, StoreError>;

    /// Replaces all tokens, durably and at once: after a crash the file holds the old or the new
    /// ones, whole. Writes the file anew if it was deleted.
    ///
    /// # Errors
    /// When the file is not what was last read or written here, or the disk refuses; then the old
    /// file is still there.
    fn save(&self, grants: &[Grant]) -> Result<(), StoreError>;

    /// Compares the file with what was last read or written here. Changes nothing.
    fn state(&self) -> FileState;
}
