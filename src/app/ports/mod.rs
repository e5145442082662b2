//! What the use cases need from outside; `stores` and the launchers provide it.

pub mod event_store;
pub mod fleet_store;
pub mod sessions;
pub mod slots;
mod tokens;

use std::{future::Future, io, pin::Pin, sync::Arc};

pub use self::tokens::{FileState, Grant, GrantStore, PrimaryToken, TokenStore, Use};
use super::doctor::Report;

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

impl StoreError {
    /// All of it, for where there is one line for it.
    pub fn in_one_line(&self) -> String {
        match &self.source {
            None => format!("{}; {}", self.what, self.help),
            Some(cause) => format!("{}: {cause}; {}", self.what, self.help),
        }
    }
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

/// Looks whether everything is as the daemon needs it; the program provides it.
pub trait Examine: Send + Sync + 'static {
    /// Changes nothing.
    fn examine(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Report> + Send>>;
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
