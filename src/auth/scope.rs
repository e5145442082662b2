//! What a token allows.

use std::fmt;

/// One kind of action that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// List and show agents, their history and their log.
    Read,
    /// Start and cancel tasks, answer an agent.
    Task,
    /// Create, delete and restart agents.
    Manage,
    /// Read `/metrics`.
    Metrics,
}

impl Scope {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Read, Self::Task, Self::Manage, Self::Metrics];

    /// The word for it on the wire and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Task => "task",
            Self::Manage => "manage",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of [`Scope`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope: what the primary token has.
    pub const ALL: Self = Self(0b1111);

    /// Whether the set holds this one.
    pub fn allows(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those in the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |&scope| self.allows(scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_exactly_what_was_put_in() {
        let set = Scopes::from_iter([Scope::Read, Scope::Metrics]);

        let allowed: Vec<_> = set.iter().map(Scope::as_str).collect();

        assert_eq!(allowed, ["read", "metrics"]);
        assert_eq!(Scopes::from_iter(Scope::ALL), Scopes::ALL);
    }
}
