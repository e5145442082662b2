//! Why a token was not made, changed or shown.

use crate::app::{ports::StoreError, settings::PrimarySource};

/// Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no token of this name.
    #[error("token `{name}` not found; {there_is}")]
    NotFound {
        /// The name, cut short.
        name: String,
        /// The names that there are, some of them if they are many.
        there_is: String,
    },
    /// There is one already.
    #[error("token `{0}` exists already")]
    Exists(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The primary token is always there.
    #[error("the primary token can't be revoked")]
    Primary,
    /// The daemon makes it.
    #[error("token `{0}` is an agent's: the daemon makes it when the agent's session opens")]
    OfAgent(String),
    /// Only the primary token's secret is kept.
    #[error("the secret of token `{0}` can't be shown: only its digest is kept")]
    DigestOnly(String),
    /// There is no primary token to show.
    #[error("there is no access token yet")]
    NoneYet,
    /// The file no longer holds the secret that is in force.
    #[error("the token file no longer holds the access token that is in force")]
    NotOnDisk,
    /// The primary token is not ours to change.
    #[error("the primary token comes from {0}, and was not changed")]
    FromElsewhere(PrimarySource),
    /// Too many former secrets still count.
    #[error("token `{0}` has {1} former secrets that still count, as many as it may")]
    TooManyOverlaps(String, usize),
    /// The disk refused.
    #[error("{outcome}")]
    NotPersisted {
        /// What holds in spite of it.
        outcome: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The file can't be read.
    #[error("the access token can't be shown")]
    Unreadable(#[source] StoreError),
    /// The work was cut off; the log has the cause.
    #[error("internal error")]
    Internal,
}
