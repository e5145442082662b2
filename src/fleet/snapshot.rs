//! The fleet at one moment.

use std::collections::BTreeMap;

use super::{Agent, AgentName};

/// All agents, sorted by name. Made by the supervisor, read by everyone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The agents.
    pub agents: BTreeMap<AgentName, Agent>,
}
