//! What the use cases need from outside; `stores` and the launchers provide it.

pub mod event_store;
pub mod fleet_store;
pub mod sessions;

use std::{future::Future, io, path::Path, pin::Pin, sync::Arc};

use jiff::Timestamp;

use crate::auth::{Digest, Secret};

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

/// Why a store could not do it, in words for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    /// What failed, naming the path; a lowercase fragment. Never holds a secret.
    pub what: String,
    /// What to do about it, as a command where there is one.
    pub help: String,
    /// The operating system's reason.
    #[source]
    pub source: Option<io::Error>,
}

/// Rereads what can be reread while the daemon runs; the program provides it.
pub trait Reload: Send + Sync + 'static {
    /// Rereads configuration and certificates and reopens the access log. All or nothing: if
    /// anything is wrong, everything stays as it was.
    ///
    /// Cancel safe: once begun, it is carried through even if nobody waits for the outcome.
    fn reload(
        self: Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Reloaded, ReloadError>> + Send>>;
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that have changed but only count after a restart.
    pub needs_restart: Vec<String>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// Why nothing was reloaded: each problem on its own.
#[derive(Debug, Clone, thiserror::Error)]
#[error("nothing was reloaded: {}", .problems.join("; "))]
pub struct ReloadError {
    /// At least one.
    pub problems: Vec<String>,
}
