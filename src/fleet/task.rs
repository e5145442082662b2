//! One assignment to an agent, from its start to its end.

use jiff::Timestamp;

use super::agent::AgentId;

/// A task's identity: grows with each task of the fleet, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

/// How a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// The agent works on it.
    Running,
    /// The agent waits for a person's answer.
    NeedsAttention,
    /// The agent says that it is finished.
    Done,
    /// It ended without success; the message says why.
    Failed,
    /// Somebody canceled it.
    Canceled,
    /// The agent was lost in the middle of it: a restart, a crash. Nobody knows how far it came.
    Interrupted,
}

impl TaskStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::NeedsAttention,
        Self::Done,
        Self::Failed,
        Self::Canceled,
        Self::Interrupted,
    ];

    /// The word for it on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::NeedsAttention => "needs_attention",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Interrupted => "interrupted",
        }
    }

    /// The status of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether it has ended.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::NeedsAttention)
    }
}

/// One assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its identity.
    pub id: TaskId,
    /// Whose it is.
    pub agent: AgentId,
    /// What is to be done, as it was given.
    pub description: String,
    /// How it is.
    pub status: TaskStatus,
    /// How it ended, or what the agent waits for: a sentence.
    pub message: Option<String>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it has cost so far.
    pub usage: Usage,
    /// What the agent asks; only while it needs attention.
    pub question: Option<Question>,
}

/// What a task has cost, as far as the agent tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Tokens in the agent's context.
    pub context_tokens: Option<u64>,
    /// Input tokens of the task.
    pub input_tokens: Option<u64>,
    /// Output tokens of the task.
    pub output_tokens: Option<u64>,
    /// Money, in `currency`.
    pub cost: Option<f64>,
    /// ISO 4217, such as `USD`.
    pub currency: Option<String>,
}

/// Something that an agent wants a person to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Unique within the agent's session; an answer names it.
    pub id: String,
    /// What the agent wants to do, for people.
    pub text: String,
    /// What can be answered. Never empty.
    pub choices: Vec<Choice>,
    /// When it was asked.
    pub asked_at: Timestamp,
}

/// One possible answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The agent's identity for it.
    pub id: String,
    /// What people read.
    pub name: String,
    /// What it means.
    pub kind: ChoiceKind,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoiceKind {
    /// Yes, this once.
    AllowOnce,
    /// Yes, and do not ask again.
    AllowAlways,
    /// No, this once.
    RejectOnce,
    /// No, and do not ask again.
    RejectAlways,
}

impl ChoiceKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AllowOnce, Self::AllowAlways, Self::RejectOnce, Self::RejectAlways];

    /// The word for it on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow_once",
            Self::AllowAlways => "allow_always",
            Self::RejectOnce => "reject_once",
            Self::RejectAlways => "reject_always",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
