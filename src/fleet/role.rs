//! How agents work.

use std::{fmt, path::PathBuf};

/// A way of working that an agent is created with.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// Unique, compared without regard to case.
    pub name: String,
    /// A sentence for people and models.
    pub description: String,
    /// The projects that offer it; empty means all.
    pub projects: Vec<String>,
    /// Whether it is chosen when no role is named.
    pub default: bool,
    /// The agent program, by name.
    pub agent: String,
    /// What stands before each task.
    pub prompt: Option<String>,
    /// The agent's mode, in its own words.
    pub mode: Option<String>,
    /// The agent's model, in its own words.
    pub model: Option<String>,
    /// How its permission requests are answered.
    pub permissions: Permissions,
    /// What the agent may do with the fleet itself.
    pub fleet_token: FleetToken,
    /// Variables for the agent. May hold secrets.
    pub environment: Vec<(String, String)>,
    /// A file with more variables, read when an agent starts.
    pub environment_file: Option<PathBuf>,
    /// Files to place in the agent's home: the path below it, and the file to copy.
    pub credentials: Vec<(PathBuf, PathBuf)>,
}

/// How an agent's permission requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permissions {
    /// By a person.
    #[default]
    Ask,
    /// No.
    Deny,
    /// Yes, each time anew: never "always".
    Allow,
}

/// What an agent may do with the fleet's own tools, on agents of its own project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FleetToken {
    /// Nothing: it has no token.
    #[default]
    Off,
    /// Look.
    Read,
    /// Look, and give tasks.
    Task,
    /// All that, and create and delete agents.
    Manage,
}

impl Role {
    /// Whether agents of this project may have it.
    pub fn offered_by(&self, project: &str) -> bool {
        self.projects.is_empty() || self.projects.iter().any(|p| p.eq_ignore_ascii_case(project))
    }
}

impl fmt::Debug for Role {
    /// Without the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role")
            .field("name", &self.name)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}
