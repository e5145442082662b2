//! What can happen to an agent, and what has to be done about it.

use jiff::{SignedDuration, Timestamp};

use crate::fleet::{Entry, Question, Task, TaskId, TaskStatus, Usage};

/// What of an agent's life is stored beside the agent, its session and its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// When its present phase began.
    pub since: Timestamp,
    /// How its present task is to be told of once the turn has ended, whatever the agent says.
    pub verdict: Option<(TaskStatus, String)>,
    /// Its program is being ended to be started anew.
    pub restarts: bool,
}

/// What a daemon finds of an agent's program at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, for this reason.
    Gone(String),
    /// Nothing, where it could have outlived the former daemon.
    Missing,
    /// Its session, which goes on.
    GoesOn,
    /// Something that is being ended, for this reason.
    Ends(String),
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest turn.
    pub turn: SignedDuration,
    /// The longest time in a turn without a sign of life.
    pub silence: SignedDuration,
    /// How long a person may take to answer; then the answer is no.
    pub answer: SignedDuration,
    /// How long an agent may take to end a turn that was canceled; then its program is ended.
    pub cancel: SignedDuration,
    /// How long an agent's workspace and program may take to be ready.
    pub opening: SignedDuration,
}

/// What somebody wants of an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Work on this.
    Start(Box<Task>),
    /// Stop working on this task; on the present one if none is named.
    Cancel(Option<TaskId>),
    /// This choice, for that question.
    Answer {
        /// [`Question::id`]; the present question if it is left out.
        question: Option<String>,
        /// The identity, the name or the kind of the choice.
        choice: String,
    },
    /// End the program and start it anew.
    Restart,
    /// Publish its work.
    Publish,
    /// End the program and remove everything.
    Delete,
}

/// What an agent's session tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Sign {
    /// The program takes prompts.
    Opened(Option<String>),
    /// The agent said something.
    Heard,
    /// The agent waits for an answer.
    Asked(Question),
    /// The agent takes back this question.
    Withdrawn(String),
    /// What the turn has cost.
    Spent(Usage),
    /// The turn is over, with this status and these words.
    TurnEnded(TaskStatus, Option<String>),
    /// The program has ended, for this reason unless it was told to.
    Ended(Option<String>),
    /// The program had outlived the former daemon, but could not go on and is ended, for this reason.
    NotResumed(String),
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the program; resume this session.
    Open(Option<String>),
    /// Give it this task.
    Prompt(String),
    /// Tell it to end the turn.
    Cancel,
    /// Give it this answer.
    Answer {
        /// [`Question::id`].
        question: String,
        /// The identity of the choice.
        choice: String,
    },
    /// Have the session publish the work.
    Publish {
        /// With what is not committed: no turn runs.
        uncommitted: bool,
    },
    /// Publish the work of an agent without a session.
    PublishAlone,
    /// End the program, and remove the workspace if so.
    Close {
        /// Whether the workspace goes too.
        remove: bool,
    },
    /// Remove what is left of an agent without a program.
    Remove,
    /// Forget the agent.
    Forget,
    /// Add this to the log.
    Log(Entry),
}

/// Why a request is refused, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not the moment for it.
    #[error("{0}")]
    Conflict(String),
    /// It can't be understood.
    #[error("{0}")]
    Invalid(String),
}
