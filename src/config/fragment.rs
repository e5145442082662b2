//! A fragment is what one source says: a file, `.env`, the environment or the command line. Raw
//! values with their origins; what they mean is for `validate`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use super::{
    Problem,
    keys::{KEYS, Key},
    nearest::nearest,
    token,
};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a configuration file, at this line.
    File(PathBuf, usize),
    /// In `.env`, at this line.
    Dotenv(PathBuf, usize),
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
    /// Nowhere: a default.
    Default,
}

impl Origin {
    /// The same source at another line; what has no lines stays as it is.
    pub(super) fn at_line(&self, line: Option<usize>) -> Self {
        match (self, line) {
            (Self::File(path, _), Some(line)) => Self::File(path.clone(), line),
            _ => self.clone(),
        }
    }

    /// Where a key was set, in the words that its writer used.
    pub(super) fn of(&self, path: &str) -> String {
        let key = Key::at(path);
        let variable = key.map_or(path, |key| key.variable);
        match self {
            Self::File(..) => format!("{self}: {path}"),
            Self::Dotenv(..) => format!("{self}: {variable}"),
            Self::Environment => variable.to_owned(),
            Self::Flag => key.map_or_else(|| path.to_owned(), Key::flag),
            Self::Default => path.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) | Self::Dotenv(path, line) => {
                write!(f, "{}:{line}", path.display())
            }
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was written. May be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A quoted text of a file, or the whole value of a variable or flag.
    Text(String),
    /// A boolean or whole number of a file, in decimal.
    Bare(String),
    /// An array, each element with its line.
    List(Vec<(Raw, usize)>),
    /// A table of a file.
    Table(BTreeMap<String, Entry>),
    /// What no setting can be.
    Other(&'static str),
}

impl fmt::Debug for Raw {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "a text",
            Self::Bare(_) => "a bare value",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        })
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// One `[projects.NAME]`, `[agents.NAME]` or `[roles.NAME]`.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) origin: Origin,
    pub(super) fields: BTreeMap<&'static str, Entry>,
}

impl Section {
    /// Key by key, and in tables as well: secrets may have a file of their own.
    fn overlay(&mut self, later: Self) {
        for (field, theirs) in later.fields {
            match (self.fields.get_mut(field), theirs) {
                (
                    Some(Entry { raw: Raw::Table(mine), .. }),
                    Entry { raw: Raw::Table(theirs), .. },
                ) => mine.extend(theirs),
                (_, theirs) => {
                    self.fields.insert(field, theirs);
                }
            }
        }
    }
}

/// The sections of a [`Table`](super::Table), by name.
pub(super) type Sections = BTreeMap<String, Section>;

/// What one source says, or several merged.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) values: BTreeMap<&'static str, Entry>,
    /// The primary token itself.
    pub(super) token: Option<Entry>,
    pub(super) projects: Sections,
    pub(super) agents: Sections,
    pub(super) roles: Sections,
}

impl Fragment {
    /// Takes over what a source of higher precedence says, key by key.
    pub(super) fn overlay(&mut self, later: Self) {
        self.values.extend(later.values);
        self.token = later.token.or(self.token.take());
        for (mine, theirs) in [
            (&mut self.projects, later.projects),
            (&mut self.agents, later.agents),
            (&mut self.roles, later.roles),
        ] {
            for (name, section) in theirs {
                match mine.get_mut(&name) {
                    Some(known) => known.overlay(section),
                    None => {
                        mine.insert(name, section);
                    }
                }
            }
        }
    }

    /// Takes a `FLEET_MCP_*` variable; all others are none of our business.
    pub(super) fn set_variable(
        &mut self,
        name: &OsStr,
        value: &OsStr,
        origin: Origin,
        problems: &mut Vec<Problem>,
    ) {
        let name = name.to_string_lossy();
        let ours = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        if !ours || is_for_others(&name, value) {
            return;
        }
        let place = match origin {
            Origin::Dotenv(..) => format!("{origin}: {name}"),
            _ => name.to_string(),
        };
        let key = KEYS.iter().find(|key| key.variable == name);
        if key.is_none() && name != token::VARIABLE {
            // The value may be a secret in the wrong place.
            let known = KEYS.iter().map(|key| key.variable).chain([token::VARIABLE]);
            let known = nearest(&name, known);
            return problems.push(Problem::unknown(place, "variable", known));
        }
        match (value.to_str(), key) {
            (Some(text), key) => {
                let entry = Entry { raw: Raw::Text(text.to_owned()), origin };
                match key {
                    Some(key) => _ = self.values.insert(key.path, entry),
                    None => self.token = Some(entry),
                }
            }
            (None, _) => problems.push(Problem::new(place, "the value is not UTF-8")),
        }
    }

    pub(super) fn from_environment(
        variables: &[(OsString, OsString)],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut fragment = Self::default();
        for (name, value) in variables {
            fragment.set_variable(name, value, Origin::Environment, problems);
        }
        fragment
    }

    pub(super) fn from_flags(
        flags: &[(&'static str, String)],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut fragment = Self::default();
        for (path, text) in flags {
            match Key::at(path) {
                Some(key) => {
                    let raw = Raw::Text(text.clone());
                    fragment.values.insert(key.path, Entry { raw, origin: Origin::Flag });
                }
                None => problems.push(Problem::unknown(
                    format!("--{path}"),
                    "flag",
                    nearest(path, KEYS.iter().map(|key| key.path)),
                )),
            }
        }
        fragment
    }
}

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "FLEET_MCP_";

/// Whether a variable with our prefix is somebody else's: of clients, or of Kubernetes and Docker,
/// which describe a service named `fleet-mcp` to every container beside it.
fn is_for_others(name: &str, value: &OsStr) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.as_encoded_bytes().starts_with(scheme.as_bytes()));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    matches!(rest, "TOKEN" | "URL" | "SERVICE_HOST" | "SERVICE_PORT")
        || rest.starts_with("SERVICE_PORT_")
        || (rest == "PORT" && is_url)
        || rest.strip_prefix("PORT_").and_then(|rest| rest.split('_').next()).is_some_and(is_number)
}

/// A key as a file would write it, on one line whatever it holds.
pub(super) fn bare_or_quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}
