//! A token as the registry knows it: everything but the secret.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Digest, Principal, Projects, Scopes};

/// The name of the primary token, whose secret is in the token file.
pub const PRIMARY: &str = "default";

/// A bearer credential: a name, the digest of its secret, and what it allows.
#[derive(Debug, Clone)]
pub struct Token {
    /// Unique among the tokens of one daemon.
    pub name: Arc<str>,
    /// SHA-256 of the secret.
    pub digest: Digest,
    /// What it allows.
    pub scopes: Scopes,
    /// Whose agents it may see.
    pub projects: Projects,
    /// When this secret was issued.
    pub created_at: Timestamp,
}

impl Token {
    /// The primary token: named [`PRIMARY`], allowed everything.
    pub fn primary(digest: Digest, created_at: Timestamp) -> Self {
        let projects = Projects::All;
        Self { name: PRIMARY.into(), digest, scopes: Scopes::ALL, projects, created_at }
    }

    /// Who a request with this token is.
    pub fn principal(&self) -> Principal {
        Principal::Token {
            name: self.name.clone(),
            scopes: self.scopes,
            projects: self.projects.clone(),
        }
    }
}
