//! Agent programs: what an agent runs.

use std::{fmt, path::PathBuf};

/// An agent program, as roles name it.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// Unique, compared without regard to case.
    pub name: String,
    /// How to talk to it.
    pub driver: Driver,
    /// A path, or a name to be found on PATH.
    pub command: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables for it. May hold secrets.
    pub environment: Vec<(String, String)>,
}

/// How to talk to an agent program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// It speaks the Agent Client Protocol on its standard streams.
    Acp,
    /// It runs once a task: the task is `{task}` in its arguments, else on its standard input.
    Command,
}

/// A program that roles are offered for without configuration, if it is on PATH.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The role and the program.
    pub name: &'static str,
    /// What is looked for on PATH.
    pub command: &'static str,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// What it is.
    pub description: &'static str,
}

/// Programs that speak the Agent Client Protocol.
pub const KNOWN: &[Known] = &[
    Known {
        name: "claude",
        command: "claude-agent-acp",
        arguments: &[],
        description: "Claude Code",
    },
    Known { name: "codex", command: "codex-acp", arguments: &[], description: "OpenAI Codex" },
    Known { name: "gemini", command: "gemini", arguments: &["--acp"], description: "Gemini CLI" },
    Known { name: "goose", command: "goose", arguments: &["acp"], description: "goose" },
    Known { name: "opencode", command: "opencode", arguments: &["acp"], description: "OpenCode" },
];

impl fmt::Debug for Program {
    /// Without the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("driver", &self.driver)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}
