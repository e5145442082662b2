//! Where the fleet outlives the daemon.

use std::{future::Future, pin::Pin};

use jiff::Timestamp;

use super::StoreError;
use crate::fleet::{Agent, AgentId, Entry, LogEntry, Task, TaskId};

/// The answer of a store: comes once it holds, on disk where it has to.
pub type Stored<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Agents, tasks and their conversations.
pub trait FleetStore: Send + Sync + 'static {
    /// Everything that the daemon has to know at its start: all agents, each with its newest task.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the store can't be read or understood; nothing was changed.
    fn load(&self) -> Result<StoredFleet, StoreError>;

    /// Makes all changes or none, in their order, and answers once they are durable. Commits are
    /// carried out in the order of these calls.
    ///
    /// # Errors
    /// When the disk refuses; none of the changes was made then.
    fn commit(&self, changes: Vec<Change>) -> Stored<()>;

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
    /// All agents.
    pub agents: Vec<StoredAgent>,
    /// The next agent's identity: higher than any that ever was.
    pub next_agent: i64,
    /// The next task's identity: higher than any that ever was.
    pub next_task: i64,
}

/// An agent as the store gives it back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAgent {
    /// The agent.
    pub agent: Agent,
    /// Its session with its program, to be resumed.
    pub session: Option<String>,
    /// Its newest task.
    pub task: Option<Task>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Makes or replaces an agent.
    PutAgent {
        /// The agent.
        agent: Agent,
        /// Its session with its program.
        session: Option<String>,
    },
    /// Removes an agent with its tasks and its log.
    RemoveAgent(AgentId),
    /// Makes or replaces a task.
    PutTask(Task),
    /// Drops the oldest entries of an agent's log until it is no larger than this.
    Trim {
        /// Whose log.
        agent: AgentId,
        /// Bytes of content.
        max_bytes: u64,
    },
    /// Adds to an agent's log.
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
