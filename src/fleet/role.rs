//! How agents work.

/// A way of working that an agent is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Unique, compared without regard to case.
    pub name: String,
    /// A sentence for people and models.
    pub description: String,
    /// The projects that offer it; empty means all.
    pub projects: Vec<String>,
    /// Whether it is chosen when no role is named.
    pub default: bool,
}

impl Role {
    /// Whether agents of this project may have it.
    pub fn offered_by(&self, project: &str) -> bool {
        self.projects.is_empty() || self.projects.iter().any(|p| p.eq_ignore_ascii_case(project))
    }
}
