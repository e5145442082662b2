//! The fleet at one moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{Agent, AgentName, Task};

/// All agents, sorted by name. Made by the supervisor, read by everyone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The agents.
    pub agents: BTreeMap<AgentName, Arc<Member>>,
}

/// An agent with its newest task.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The agent.
    pub agent: Agent,
    /// Its newest task.
    pub task: Option<Task>,
}
