//! Who a request is, once it has been let in.

use std::sync::Arc;

use super::{Projects, Scope, Scopes};

/// The identity that handlers and the audit log see. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Whoever holds this token.
    Token {
        /// The token's name; the primary one is `default`.
        name: Arc<str>,
        /// What it allows.
        scopes: Scopes,
        /// Whose agents it may see.
        projects: Projects,
    },
    /// Anyone, while authentication is off.
    Anonymous,
    /// The daemon itself.
    Daemon,
    /// A peer on the control socket, by its user id.
    Local {
        /// The peer's effective uid when it connected.
        uid: u32,
    },
}

impl Principal {
    /// The name that logs show.
    pub fn name(&self) -> String {
        match self {
            Self::Token { name, .. } => name.to_string(),
            Self::Anonymous => "anonymous".to_owned(),
            Self::Daemon => "fleet-mcp".to_owned(),
            Self::Local { uid } => format!("uid:{uid}"),
        }
    }

    /// Whether it may do this.
    pub fn allows(&self, scope: Scope) -> bool {
        match self {
            Self::Token { scopes, .. } => scopes.allows(scope),
            Self::Anonymous | Self::Daemon | Self::Local { .. } => true,
        }
    }

    /// The projects that exist for it.
    pub fn projects(&self) -> &Projects {
        match self {
            Self::Token { projects, .. } => projects,
            Self::Anonymous | Self::Daemon | Self::Local { .. } => &Projects::All,
        }
    }
}
