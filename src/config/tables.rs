//! The tables of tables, which only files can have: projects and roles.

use super::kind::Kind;

/// A table of tables that only files can have: `[projects.NAME]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// `projects`
    pub name: &'static str,
    /// What each of them may hold.
    pub fields: &'static [Field],
}

/// A key of a [`Table`]'s entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// `repository`
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// One sentence about it.
    pub help: &'static str,
}

/// What agents may work on.
pub const PROJECTS: Table = Table {
    name: "projects",
    fields: &[
        Field { name: "description", kind: Kind::Text, help: "A sentence for people and models." },
        Field {
            name: "repository",
            kind: Kind::Text,
            help: "What to clone, a path or a URL; without it each agent gets an empty directory.",
        },
    ],
};

/// How agents may work.
pub const ROLES: Table = Table {
    name: "roles",
    fields: &[
        Field {
            name: "default",
            kind: Kind::Boolean,
            help: "Whether it is chosen when no role is named.",
        },
        Field { name: "description", kind: Kind::Text, help: "A sentence for people and models." },
        Field {
            name: "projects",
            kind: Kind::Names,
            help: "The projects that offer it; without it, all.",
        },
    ],
};
