//! Where the fleet outlives the daemon.

use std::{future::Future, pin::Pin};

use jiff::Timestamp;

use super::{
    StoreError,
    sessions::{Checkpoint, Order},
};
use crate::fleet::{Agent, AgentId, Entry, LogEntry, Task, TaskId, lifecycle::Standing};

/// The answer of a store: comes once it holds, on disk where it has to.
pub type Stored<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Most bytes of an entry that pieces were joined to: what a reader gets in one go, and what is
/// written again for each piece.
pub const MAX_JOINED_BYTES: u64 = 16 * 1024;

/// Most entries that one [`Change::Trim`] removes.
pub const MAX_TRIMMED_ENTRIES: u32 = 256;

/// Agents, tasks and their conversations.
pub trait FleetStore: Send + Sync + 'static {
    /// Everything that the daemon has to know at its start: all agents, each with its newest task.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the store can't be read or understood; nothing was changed.
    fn load(&self) -> Result<StoredFleet, StoreError>;

    /// Makes all changes or none, in their order, and answers once they are durable. Commits are
    /// carried out in the order of these calls, whether or not anyone waits for the answer.
    ///
    /// Times are kept to the microsecond. A cost that is no number is kept as none.
    ///
    /// # Errors
    /// When the disk refuses, when more calls wait than the store holds, or when a change can't be
    /// made: a name or an id that is taken, an agent that is not there. None of the changes was
    /// made then; what others committed meanwhile is not touched by it.
    fn commit(&self, changes: Vec<Change>) -> Stored<()>;

    /// A task, whosever it is; none if it was never there, or went with its agent.
    ///
    /// # Errors
    /// When the store can't be read.
    fn task(&self, id: TaskId) -> Stored<Option<Task>>;

    /// The newest entry of the log that is something said in this task; none if there is none left.
    ///
    /// # Errors
    /// When the store can't be read.
    fn last_message(&self, task: TaskId) -> Stored<Option<String>>;

    /// One page of an agent's tasks, newest first. A page beyond the end is empty.
    ///
    /// # Errors
    /// When the store can't be read.
    fn history(&self, agent: AgentId, page: Page) -> Stored<Paged<Task>>;

    /// One page of an agent's log, newest first. A page beyond the end is empty.
    ///
    /// # Errors
    /// When the store can't be read.
    fn log(&self, agent: AgentId, page: Page) -> Stored<Paged<LogEntry>>;

    /// The entries of an agent's log after this one, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read.
    fn log_after(&self, agent: AgentId, after: i64, limit: usize) -> Stored<Vec<LogEntry>>;
}

/// The fleet as the store gives it back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFleet {
    /// All agents, by id.
    pub agents: Vec<StoredAgent>,
    /// The id for the next new agent: above all that ever were, removed ones too.
    pub next_agent: AgentId,
    /// The id for the next new task: above all that ever were, removed ones too.
    pub next_task: TaskId,
}

/// An agent as the store gives it back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAgent {
    /// The agent.
    pub agent: Agent,
    /// Its session with its program, to be resumed.
    pub session: Option<String>,
    /// What of its life is stored beside it.
    pub standing: Standing,
    /// Its open session, if it may have outlived the daemon.
    pub open: Option<StoredSession>,
    /// Its newest task.
    pub task: Option<Task>,
    /// The size of its log: the bytes of all entries' contents.
    pub log_bytes: u64,
}

/// An open session as the store gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// When it was last written.
    pub time: Timestamp,
    /// From where it can be taken up.
    pub checkpoint: Checkpoint,
    /// What it was told after that, numbered: each one more than the one before.
    pub orders: Vec<(u64, Order)>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Makes or replaces an agent. A new one's id is above all that ever were.
    PutAgent {
        /// The agent.
        agent: Agent,
        /// Its session with its program.
        session: Option<String>,
        /// What of its life is stored beside it.
        standing: Standing,
    },
    /// Removes an agent with its tasks and its log; no error if it is not there.
    RemoveAgent(AgentId),
    /// Makes or replaces a task. A new one's id is above all that ever were.
    PutTask(Task),
    /// Adds to an agent's log. An entry that joins lengthens the newest one if that is of the same
    /// kind and task, as long as the whole stays within [`MAX_JOINED_BYTES`].
    Append {
        /// Whose log.
        agent: AgentId,
        /// The task that it belongs to.
        task: Option<TaskId>,
        /// When.
        time: Timestamp,
        /// What.
        entry: Entry,
    },
    /// Removes the oldest entries of an agent's log until it fits, at most
    /// [`MAX_TRIMMED_ENTRIES`] of them, so that nobody waits long; the next one goes on.
    Trim {
        /// Whose log.
        agent: AgentId,
        /// How many bytes of content may stay.
        max_bytes: u64,
    },
    /// Makes or replaces the checkpoint of an agent's open session. Orders that it has obeyed are
    /// forgotten.
    PutSession {
        /// Whose.
        agent: AgentId,
        /// When.
        time: Timestamp,
        /// From where it can be taken up.
        checkpoint: Checkpoint,
    },
    /// Adds an order to an agent's open session; not one to close it.
    PutOrder {
        /// Whose.
        agent: AgentId,
        /// Its number: 1, 2, 3… in each session.
        number: u64,
        /// What is ordered.
        order: Order,
    },
    /// Forgets an agent's open session, with its orders.
    RemoveSession(AgentId),
}

/// Which part of a long list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// Entries a page, from 1.
    pub size: u32,
}

/// A part of a long list.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// The entries of this page.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
}
