//! What an agent's conversation consists of.

use jiff::Timestamp;

use super::task::TaskId;

/// One piece of the conversation, as a driver hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The text; never empty. Untrusted: an agent wrote it.
    pub content: String,
    /// Whether it goes on with the newest entry, if that is of the same kind and task: a stream of
    /// text arrives in many pieces and is read as one.
    pub joins: bool,
}

/// What a piece of the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The task as it was given. Input.
    Task,
    /// A person's answer to a question. Input.
    Answer,
    /// What the agent says.
    Message,
    /// What the agent thinks aloud.
    Thought,
    /// What the agent does with a tool, and what came of it.
    ToolCall,
    /// What the agent plans.
    Plan,
    /// What the agent asks.
    Question,
    /// What the agent's program writes on standard error, or outside its protocol.
    Diagnostic,
    /// What the fleet notes: started, ended, limits.
    Notice,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Task,
        Self::Answer,
        Self::Message,
        Self::Thought,
        Self::ToolCall,
        Self::Plan,
        Self::Question,
        Self::Diagnostic,
        Self::Notice,
    ];

    /// The word for it on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Answer => "answer",
            Self::Message => "message",
            Self::Thought => "thought",
            Self::ToolCall => "tool_call",
            Self::Plan => "plan",
            Self::Question => "question",
            Self::Diagnostic => "diagnostic",
            Self::Notice => "notice",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether it went to the agent rather than came from it.
    pub fn is_input(self) -> bool {
        matches!(self, Self::Task | Self::Answer)
    }
}

/// An entry of the log as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Grows with each entry of the fleet.
    pub id: i64,
    /// The task that it belongs to.
    pub task: Option<TaskId>,
    /// When it began.
    pub time: Timestamp,
    /// What it is.
    pub kind: EntryKind,
    /// The text. Untrusted: an agent wrote it.
    pub content: String,
}
