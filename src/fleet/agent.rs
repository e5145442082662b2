//! A named worker of the fleet.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr};

use jiff::Timestamp;

use super::Slot;

/// Most characters of an agent's name.
pub const MAX_NAME_LEN: usize = 32;

/// An agent's identity: never used again once the agent is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub i64);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent-{}", self.0)
    }
}

/// An agent's name: `[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?`, not `new`. Upper case is folded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

/// Why a text is no agent's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing but blanks.
    #[error("agent name is empty; use 1 to {MAX_NAME_LEN} characters of a-z, 0-9 and `-`")]
    Empty,
    /// More than [`MAX_NAME_LEN`] characters.
    #[error("agent name has {0} characters; at most {MAX_NAME_LEN} are allowed")]
    TooLong(usize),
    /// A character that is not allowed.
    #[error("agent name has the character {0:?}; only a-z, 0-9 and `-` are allowed")]
    Character(char),
    /// A hyphen at either end.
    #[error("agent name starts or ends with `-`; it must start and end with a letter or digit")]
    Hyphen,
    /// A word that is kept for commands.
    #[error("agent name `{0}` is reserved; choose another")]
    Reserved(String),
}

impl AgentName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.trim().is_empty() {
            return Err(InvalidName::Empty);
        }
        let name = text.to_ascii_lowercase();
        if let Some(other) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(InvalidName::Character(other));
        }
        if name.len() > MAX_NAME_LEN {
            return Err(InvalidName::TooLong(name.len()));
        }
        if name.starts_with('-') || name.ends_with('-') {
            return Err(InvalidName::Hyphen);
        }
        if name == "new" {
            return Err(InvalidName::Reserved(name));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent is doing: the words of the original server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Status {
    Pending,
    Starting,
    Idle,
    Busy,
    Stopping,
    Stopped,
    Failed,
    Canceling,
    Canceled,
    Deleting,
    Deleted,
}

impl Status {
    /// All of them, in the order of an agent's life.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Starting,
        Self::Idle,
        Self::Busy,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
        Self::Deleting,
        Self::Deleted,
    ];

    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

/// The text is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown status `{0}`; use one of: pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting, deleted"
)]
pub struct UnknownStatus(String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownStatus(text.chars().take(MAX_NAME_LEN).collect()))
    }
}

/// An agent as everyone but the supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Unique in the fleet.
    pub name: AgentName,
    /// The agent's stable identity.
    pub id: AgentId,
    /// What it is doing.
    pub status: Status,
    /// The role it was created with.
    pub role: String,
    /// The project it works on.
    pub project: String,
    /// Where it lives, from its creation to its end, if this machine has slots.
    pub slot: Option<Slot>,
    /// The description of its newest task.
    pub last_task: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When anything of it last changed.
    pub updated_at: Timestamp,
}

/// Where an agent's work can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The bare repository.
    pub repository: PathBuf,
    /// The agent's branch in it.
    pub branch: String,
    /// What the branch points to.
    pub commit: String,
}

impl Publication {
    /// What a person runs to get the work.
    pub fn fetch(&self) -> String {
        format!("git fetch {} {}", shell_word(&self.repository.to_string_lossy()), self.branch)
    }
}

/// A word for a shell: quoted if it has to be.
fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_to_lower_case() {
        assert_eq!("Sony".parse::<AgentName>().unwrap().as_str(), "sony");
    }

    #[test]
    fn names_outside_the_rule_are_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<AgentName>().unwrap_err();

        assert_eq!(refused("  "), InvalidName::Empty);
        assert_eq!(refused("é"), InvalidName::Character('é'));
        assert_eq!(refused("a b"), InvalidName::Character(' '));
        assert_eq!(refused("-a"), InvalidName::Hyphen);
        assert_eq!(refused("a-"), InvalidName::Hyphen);
        assert_eq!(refused("NEW"), InvalidName::Reserved("new".into()));
        assert_eq!(refused(&"a".repeat(33)), InvalidName::TooLong(33));
        assert!("a".repeat(32).parse::<AgentName>().is_ok());
        assert!("a".parse::<AgentName>().is_ok());
    }

    #[test]
    fn a_repository_in_an_odd_place_can_be_fetched_from() {
        let place = |repository: &str| Publication {
            repository: repository.into(),
            branch: "fleet/sony".to_owned(),
            commit: String::new(),
        };

        assert_eq!(place("/p/a-1.git").fetch(), "git fetch /p/a-1.git fleet/sony");
        assert_eq!(place("/my p/it's").fetch(), r"git fetch '/my p/it'\''s' fleet/sony");
    }

    #[test]
    fn an_unknown_status_names_the_known_ones() {
        let error = "offline".parse::<Status>().unwrap_err().to_string();

        assert!(Status::ALL.iter().all(|status| error.contains(status.as_str())), "{error}");
        assert_eq!("BUSY".parse(), Ok(Status::Busy));
    }
}
