//! A token as the registry knows it: everything but the secret.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Digest, Networks, Principal, Projects, Scopes, TokenName};

pub use super::name::PRIMARY;

/// A bearer credential: what it is called and what it allows, whatever its secret is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Unique among the tokens of one daemon.
    pub name: TokenName,
    /// What it allows.
    pub scopes: Scopes,
    /// Whose agents it may see.
    pub projects: Projects,
    /// Where its requests may come from.
    pub networks: Networks,
    /// How long each of its secrets lasts; `None` for a token that lasts for ever, or to a date.
    pub lifetime: Option<SignedDuration>,
}

impl Token {
    /// The primary token: allowed everything, from everywhere, for ever.
    pub fn primary() -> Self {
        Self {
            name: TokenName::primary(),
            scopes: Scopes::ALL,
            projects: Projects::All,
            networks: Networks::All,
            lifetime: None,
        }
    }

    /// Who a request with this token is.
    pub fn principal(&self) -> Principal {
        Principal::Token {
            name: self.name.shared(),
            scopes: self.scopes,
            projects: self.projects.clone(),
        }
    }
}

/// One secret of a token, by its digest. A rotation makes a new one; the former may overlap with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Whose it is.
    pub token: Arc<Token>,
    /// SHA-256 of the secret.
    pub digest: Digest,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When its overlap with its successor is over; `None` for the newest.
    pub overlaps_until: Option<Timestamp>,
}

/// Why a secret that is known no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time is over.
    Expired,
    /// It has a successor, and the overlap is over.
    Replaced,
}

impl Generation {
    /// When it ends, and why; from that moment on it does not count.
    pub fn end(&self) -> Option<(Timestamp, End)> {
        let expiry = self.expires_at.map(|at| (at, End::Expired));
        let overlap = self.overlaps_until.map(|at| (at, End::Replaced));
        match (expiry, overlap) {
            (Some(expiry), Some(overlap)) => {
                Some(if expiry.0 < overlap.0 { expiry } else { overlap })
            }
            (one, other) => one.or(other),
        }
    }

    /// Why it does not count at this moment, if it does not.
    pub fn over(&self, now: Timestamp) -> Option<End> {
        self.end().filter(|(at, _)| *at <= now).map(|(_, why)| why)
    }
}
