//! The tables of tables, which only files can have: projects, agent programs and roles.

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
            kind: Kind::Path,
            help: "What to clone, a path or a URL; without it each agent gets an empty directory.",
        },
    ],
};

/// What agents run.
pub const AGENTS: Table = Table {
    name: "agents",
    fields: &[
        Field {
            name: "args",
            kind: Kind::Arguments,
            help: "The program's arguments; `{task}` stands for the task with the driver `command`.",
        },
        Field {
            name: "command",
            kind: Kind::Command,
            help: "The program: a path, or a name to be found on PATH. Required.",
        },
        Field {
            name: "driver",
            kind: Kind::OneOf(&["acp", "command"]),
            help: "`acp`, the default: it speaks the Agent Client Protocol. `command`: it runs once a task.",
        },
        Field {
            name: "environment",
            kind: Kind::Variables,
            help: "Variables for the program, each a text in quotes.",
        },
    ],
};

/// How agents may work.
pub const ROLES: Table = Table {
    name: "roles",
    fields: &[
        Field {
            name: "agent",
            kind: Kind::Names,
            help: "The agent program: one of `[agents.NAME]`, `demo`, or a known one on PATH; the first known one if it is left out.",
        },
        Field {
            name: "credentials",
            kind: Kind::Files,
            help: "Files for the agent's home: the path below it in quotes, and the file to copy.",
        },
        Field {
            name: "default",
            kind: Kind::Boolean,
            help: "Whether it is chosen when no role is named.",
        },
        Field { name: "description", kind: Kind::Text, help: "A sentence for people and models." },
        Field {
            name: "environment",
            kind: Kind::Variables,
            help: "Variables for the agent, each a text in quotes; they win over the program's.",
        },
        Field {
            name: "environment_file",
            kind: Kind::Path,
            help: "A file with more variables, mode 0600, read when an agent starts.",
        },
        Field {
            name: "fleet_token",
            kind: Kind::OneOf(&["off", "read", "task", "manage"]),
            help: "What the agent may do with the fleet's own tools, on agents of its project: nothing (`off`, the default), look, give tasks too, create and delete agents too.",
        },
        Field { name: "mode", kind: Kind::Text, help: "The agent's mode, in its own words." },
        Field { name: "model", kind: Kind::Text, help: "The agent's model, in its own words." },
        Field {
            name: "permissions",
            kind: Kind::OneOf(&["ask", "deny", "allow"]),
            help: "How the agent's permission requests are answered: by a person (`ask`, the default), no, or yes.",
        },
        Field {
            name: "projects",
            kind: Kind::Names,
            help: "The projects that offer it; without it, all.",
        },
        Field { name: "prompt", kind: Kind::Prose, help: "What stands before each task." },
    ],
};

/// All tables of tables.
pub(super) const TABLES: [Table; 3] = [PROJECTS, AGENTS, ROLES];
