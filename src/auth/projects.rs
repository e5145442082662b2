//! Which projects a principal may see.

use std::sync::Arc;

/// The projects whose agents exist for somebody; all others do not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projects {
    /// Every project, also those that are configured later.
    #[default]
    All,
    /// These only, compared without regard to case. One that is not configured is nothing to see.
    Only(Arc<[Arc<str>]>),
}

impl Projects {
    /// Whether this project is one of them.
    pub fn cover(&self, project: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name.eq_ignore_ascii_case(project)),
        }
    }

    /// Their names; `None` stands for all.
    pub fn names(&self) -> Option<&[Arc<str>]> {
        match self {
            Self::All => None,
            Self::Only(names) => Some(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_is_not_named_does_not_exist() {
        let some = Projects::Only(["Website".into(), "api".into()].into());

        assert!(some.cover("website") && some.cover("API"));
        assert!(!some.cover("web") && !some.cover(""));
        assert!(!Projects::Only([].into()).cover("api"));
        assert!(Projects::All.cover("anything"));
    }
}
