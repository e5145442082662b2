//! What agents work on.

/// A git repository that each agent clones, or an empty scratch directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Unique, compared without regard to case.
    pub name: String,
    /// A sentence for people and models.
    pub description: String,
    /// What to clone: a path on this machine or a URL. `None` is a scratch project.
    pub repository: Option<String>,
}
